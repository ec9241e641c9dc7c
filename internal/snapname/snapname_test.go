package snapname

import (
	"net/http"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

func TestNext(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		pattern string
		taken   []string
		want    string
	}{
		{"snap%d", nil, "snap0"},
		{"snap%d", []string{"snap0", "snap7", "snapx", "xsnap9", "snap0001"}, "snap8"},
		{"a%db", []string{"a3b", "a4"}, "a4b"},
		{"fixed", nil, "fixed"},
		{"fixed", []string{"fixed"}, "fixed-0"},
		{"fixed", []string{"fixed", "fixed-0"}, "fixed-1"},
		{"a.b%d", []string{"axb4"}, "a.b0"}, // a dot is a dot
	} {
		got, err := Next(t.Context(), c.pattern, now, c.taken)
		if err != nil || got != c.want {
			t.Errorf("%s after %q: got %q (%v), want %q", c.pattern, c.taken, got, err, c.want)
		}
	}
	for _, pattern := range []string{"%d%d", "%s", "100%"} {
		if got, err := Next(t.Context(), pattern, now, nil); api.StatusOf(err) != http.StatusBadRequest {
			t.Errorf("%s: got %q, %v", pattern, got, err)
		}
	}
}

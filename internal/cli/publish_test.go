package cli

import (
	"net/http"
	"slices"
	"testing"

	"github.com/berthd/berth/api"
)

// TestPublishLeavesWhatElseIsChangedMeanwhile: that an instance is ephemeral is all that publishing it takes away and gives back.
func TestPublishLeavesWhatElseIsChangedMeanwhile(t *testing.T) {
	for name, c := range map[string]struct {
		stop func(http.ResponseWriter, *http.Request, []byte)
		code int
	}{
		"published":            {ended, 0},
		"it cannot be stopped": {func(w http.ResponseWriter, _ *http.Request, _ []byte) { fail(w, 400, "busy") }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			f.answers["GET /1.0/instances/eph"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
				w.Header().Set("ETag", "seen")
				give(w, api.Instance{Name: "eph", Status: "Running", StatusCode: api.Running, InstancePut: api.InstancePut{Ephemeral: true, Config: map[string]string{"user.a": "b"}}})
			}
			var tags []string
			f.answers["PATCH /1.0/instances/eph"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
				tags = append(tags, r.Header.Get("If-Match"))
				give(w, nil)
			}
			f.answers["PUT /1.0/instances/eph/state"], f.answers["POST /1.0/images"] = c.stop, ended
			if got := berth("", "publish", "eph", "--force"); got.code != c.code {
				t.Errorf("%+v", got)
			}
			if got := f.asked("PUT /1.0/instances/eph {"); len(got) > 0 {
				t.Errorf("the whole record was written: %q", got)
			}
			want := []string{`PATCH /1.0/instances/eph {"ephemeral":false}`, `PATCH /1.0/instances/eph {"ephemeral":true}`}
			if got := f.asked("PATCH"); !slices.Equal(got, want) {
				t.Errorf("changed with %q", got)
			}
			if !slices.Equal(tags, []string{"seen", ""}) {
				t.Errorf("with If-Match %q", tags)
			}
		})
	}
}

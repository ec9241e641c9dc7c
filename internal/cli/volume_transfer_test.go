package cli

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestWhereAVolumeGoes: what the server is asked for follows from pool, name and project alike; what stays the same is not asked for.
func TestWhereAVolumeGoes(t *testing.T) {
	const from, into = "POST /1.0/storage-pools/p/volumes/custom/v", "POST /1.0/storage-pools/"
	for line, want := range map[string]struct{ request, says, never string }{
		"move p/v p/w":                        {from, `{"name":"w"`, `"p`},
		"move p/v q/v":                        {from, `"pool":"q"`, `"project":"`},
		"move p/v q/w":                        {from, `"name":"w","pool":"q"`, `"project":"`},
		"move p/v p/v --target-project other": {from, `"project":"other"`, `"pool":"q"`},
		"move p/v q/v --target-project other": {from, `"pool":"q","project":"other"`, `"source"`},
		"copy p/v p/w":                        {into + "p/volumes/custom", `"name":"w"`, `"migration":true`},
		"copy p/v q/w --target-project other": {into + "q/volumes/custom", `"name":"w"`, `"migration":true`},
	} {
		f := newFake(t)
		f.gives("GET /1.0/storage-pools/p/volumes/custom/v", api.StorageVolume{Name: "v", Type: "custom"})
		projects := []string{}
		f.answers[want.request] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
			projects = append(projects, r.URL.Query().Get("project"))
			fail(w, http.StatusConflict, "asked")
		}
		got := berth("", append([]string{"storage", "volume"}, strings.Fields(line)...)...)
		asked := f.asked("POST ")
		if got.code != 1 || !strings.Contains(got.err, "asked") || len(asked) != 1 {
			t.Errorf("%s: %q after %q", line, got.err, asked)
			continue
		}
		if body := strings.TrimPrefix(asked[0], want.request); !strings.Contains(body, want.says) || strings.Contains(body, want.never) {
			t.Errorf("%s asks for %s, want %s without %s", line, body, want.says, want.never)
		}
		if to := strings.Contains(line, "copy") && strings.Contains(line, "other"); slices.Contains(projects, "other") != to {
			t.Errorf("%s asks in project %q", line, projects)
		}
	}
}

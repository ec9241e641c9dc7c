package daemon

import (
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/warning"
)

// TestWarningsFollowTheirObjectInAProject: through renames, and to its end, in the default project and in another; whether what the work was about
// was named in full or, as operations do, without the project.
func TestWarningsFollowTheirObjectInAProject(t *testing.T) {
	for project, query := range map[string]string{api.ProjectDefault: "", "red": "?project=red"} {
		for _, entity := range []string{"/1.0/instances/w1", "/1.0/instances/w1" + query} {
			st := store.New(store.NewMemory())
			d := &Daemon{warnings: warning.New(st, event.Nobody{})}
			if err := st.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
			events := lifecycle{event.Nobody{}, d.warnings}
			about := func(want string) {
				t.Helper()
				list := d.warnings.List("", nil)
				if want == "" && len(list) == 0 || len(list) == 1 && list[0].EntityURL == want {
					return
				}
				t.Errorf("%s, %s: %+v, want one about %q", project, entity, list, want)
			}
			d.recordWarnings(t.Context(), project, []omitted.Remark{{Kind: "Something is missing", Entity: entity, Message: "this"}})
			about("/1.0/instances/w1" + query)
			events.Lifecycle(t.Context(), project, "instance-renamed", "/1.0/instances/w2"+query, map[string]any{"old_name": "w1"})
			about("/1.0/instances/w2" + query)
			events.Lifecycle(t.Context(), "other", "instance-deleted", "/1.0/instances/w2?project=other", nil)
			about("/1.0/instances/w2" + query)
			events.Lifecycle(t.Context(), project, "instance-deleted", "/1.0/instances/w2"+query, nil)
			about("")
			d.recordWarnings(t.Context(), project, []omitted.Remark{{Kind: "Something is missing", Entity: entity, Message: "this"}})
			d.recordWarnings(t.Context(), project, []omitted.Remark{{Kind: "Something is missing", Entity: entity}})
			if list := d.warnings.List("", nil); len(list) != 1 || list[0].Status != warning.StatusResolved {
				t.Errorf("%s, %s: %+v is not resolved", project, entity, list)
			}
		}
	}
}

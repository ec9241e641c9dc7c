package cli

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// Whoever stands in a project stands in it by its new name, or in the default one when it is gone; whoever stands elsewhere stays there.
func TestAClientFollowsItsProject(t *testing.T) {
	f := newFake(t)
	for _, name := range []string{"blue", "red", "green"} {
		f.gives("GET /1.0/projects/"+name, api.Project{Name: name})
		f.answers["POST /1.0/projects/"+name] = ended
		f.gives("DELETE /1.0/projects/"+name, nil)
	}
	f.gives("GET /1.0/projects", []api.Project{{Name: "blue"}, {Name: "red"}, {Name: "green"}, {Name: "default"}})
	for _, step := range []struct{ command, want string }{
		{"project switch blue", "blue"},
		{"project rename blue red", "red"},
		{"project rename green yellow", "red"},
		{"project delete green", "red"},
		{"project delete red", "default"},
	} {
		if got := berth("", strings.Fields(step.command)...); got.code != 0 {
			t.Errorf("%s: %+v", step.command, got)
		}
		var current string
		for _, line := range strings.Split(berth("", "project", "list", "--format=csv").out, "\n") {
			if name, _, _ := strings.Cut(line, ","); strings.HasSuffix(name, " (current)") {
				current = strings.TrimSuffix(name, " (current)")
			}
		}
		if current != step.want {
			t.Errorf("after %s the client stands in %q, want %q", step.command, current, step.want)
		}
	}
}

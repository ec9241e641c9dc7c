package exec

import (
	"testing"

	"github.com/berthd/berth/api"
)

// TestASessionBeginsInTheInstanceItWasAskedForOrNowhere: another may have its name by the time the client connects, or none.
func TestASessionBeginsInTheInstanceItWasAskedForOrNowhere(t *testing.T) {
	for what, now := range map[string]func(*local){
		"another": func(l *local) {
			l.instances["default/c1"] = Target{ID: "c1", UUID: "2", Name: "c1", Project: "default", Status: api.Running}
		},
		"none": func(l *local) { delete(l.instances, "default/c1") },
		"it":   func(*local) {},
	} {
		for _, terminal := range []bool{false, true} {
			s, l := service(t)
			first := l.instances["default/c1"]
			first.UUID = "1"
			l.instances["default/c1"] = first
			sockets := []string{"0", "1", "2"}
			if terminal {
				sockets = sockets[:1]
			}
			task, err := s.Exec(t.Context(), "default", "c1", api.InstanceExecPost{Command: []string{"true"}, WaitForWS: true, Interactive: terminal})
			if err != nil {
				t.Fatal(err)
			}
			console, err := s.Console(t.Context(), "default", "c1", api.InstanceConsolePost{})
			if err != nil {
				t.Fatal(err)
			}
			now(l)
			err = <-open(t, task, sockets...).done
			if what == "it" {
				if err != nil || l.last.Command == nil {
					t.Errorf("%s: %v", what, err)
				}
				continue
			}
			if !api.IsNotFound(err) || l.last.Command != nil {
				t.Errorf("%s: terminal %v: %v, ran %v", what, terminal, err, l.last.Command)
			}
			if err := <-open(t, console, "0").done; !api.IsNotFound(err) {
				t.Errorf("%s: console: %v", what, err)
			}
		}
	}
}

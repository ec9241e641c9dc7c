package daemon

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/berthd/berth/internal/operation"
)

// waiting has a caller wait for an operation of a project that does not end; it gives the answer.
func (w *tenants) waiting(caller, project string) <-chan int {
	w.t.Helper()
	o, err := w.d.ops.Start(context.Background(), project, &operation.Task{Class: operation.ClassToken})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = o.Cancel() })
	ended := make(chan int, 1)
	began := w.d.server.Sessions()
	go func() {
		status, _ := w.answer(caller, "GET", "/1.0/operations/"+o.ID()+"/wait", "")
		ended <- status
	}()
	for w.d.server.Sessions() == began {
		runtime.Gosched()
	}
	return ended
}

// TestSessionsEndWhenTheirProjectGetsAnotherName: by that the certificate names another project, or none, and so do permissions. Nobody changed the
// certificate. It is noticed before callers are looked at anyway. What is waited for is of another project, and goes on.
func TestSessionsEndWhenTheirProjectGetsAnotherName(t *testing.T) {
	for what, change := range map[string]func(w *tenants){
		"renamed": func(w *tenants) { w.must("POST", "/1.0/projects/e", `{"name":"e2"}`) },
		"deleted": func(w *tenants) { w.must("DELETE", "/1.0/projects/e", "") },
	} {
		for by, trust := range map[string]func(w *tenants){
			"certificate": func(w *tenants) { w.trust("e", `"restricted":true,"projects":["a","e"]`) },
			"groups": func(w *tenants) {
				w.trustFine("e", `{"entity_type":"project","url":"/1.0/projects/a","entitlement":"operator"},{"entity_type":"project","url":"/1.0/projects/e","entitlement":"operator"}`)
			},
		} {
			t.Run(what+", by "+by, func(t *testing.T) {
				w := newTenants(t)
				w.must("POST", "/1.0/projects", `{"name":"e"}`)
				trust(w)
				ended := w.waiting("e", "a")
				change(w)
				select {
				case status := <-ended:
					if status != 403 {
						t.Errorf("it ends with %d", status)
					}
				case <-time.After(5 * time.Second): // half of the time after which callers are looked at
					t.Error("a request goes on without its project")
				}
			})
		}
	}
}

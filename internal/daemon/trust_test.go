package daemon

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/berthd/berth/internal/operation"
)

// TestSessionsEndWhenTheirProjectGetsAnotherName: by that the certificate names another project, or none. Nobody changed the certificate. It is
// noticed before callers are looked at anyway. What is waited for is of another project, and goes on.
func TestSessionsEndWhenTheirProjectGetsAnotherName(t *testing.T) {
	for what, change := range map[string]func(w *tenants){
		"renamed": func(w *tenants) { w.must("POST", "/1.0/projects/e", `{"name":"e2"}`) },
		"deleted": func(w *tenants) { w.must("DELETE", "/1.0/projects/e", "") },
	} {
		t.Run(what, func(t *testing.T) {
			w := newTenants(t)
			w.must("POST", "/1.0/projects", `{"name":"e"}`)
			w.trust("e", `"restricted":true,"projects":["a","e"]`)
			o, err := w.d.ops.Start(context.Background(), "a", &operation.Task{Class: operation.ClassToken})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = o.Cancel() })
			ended := make(chan int, 1)
			began := w.d.server.Sessions()
			go func() {
				status, _ := w.answer("e", "GET", "/1.0/operations/"+o.ID()+"/wait", "")
				ended <- status
			}()
			for w.d.server.Sessions() == began {
				runtime.Gosched()
			}
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

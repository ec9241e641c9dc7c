package operation

import (
	"context"
	"time"
)

// endTime is how long it is waited for what a project's end ends.
const endTime = 5 * time.Second

// EndIn cancels what runs in a project, but for the operation of ctx, and waits a moment for it to end. What Revoke would take back, as a
// client's token, is not of the project.
func (m *Manager) EndIn(ctx context.Context, project string) {
	var ending []*Operation
	for _, o := range m.List(project) {
		w := o.work.Load()
		if o.project != project || o.id == ID(ctx) || w == nil || w.revoke != nil {
			continue
		}
		if o.Retire() == nil {
			ending = append(ending, o)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, endTime)
	defer cancel()
	for _, o := range ending {
		if o.Wait(ctx) != nil {
			return
		}
	}
}

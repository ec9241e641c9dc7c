package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
)

// Operation is a task that was started.
type Operation struct {
	id      string
	project string
	owner   string // who asked for it, as request.Caller.Identity
	task    Task   // without its functions
	created time.Time
	manager *Manager
	work    atomic.Pointer[work] // until the operation has ended
	done    chan struct{}        // closed once the state is final

	connects bool // it has websockets

	mu       sync.Mutex
	status   api.StatusCode
	updated  time.Time
	metadata map[string]any
	err      error
	ended    time.Time

	lastEvent time.Time
	pending   *time.Timer // a progress event that was held back
}

// work is what an operation needs while it runs. It is let go of at the end: with it go the request that asked and
// all that the task's functions hold, while the operation can be asked for much longer.
type work struct {
	run     func(ctx context.Context, p Progress) error
	revoke  func(ctx context.Context) error
	connect func(secret string, w http.ResponseWriter, r *http.Request) error
	cancel  context.CancelCauseFunc
}

func newOperation(m *Manager, project, owner string, t *Task, cancel context.CancelCauseFunc) *Operation {
	now := time.Now().UTC()
	o := &Operation{
		id: t.ID, project: project, owner: owner, task: *t, created: t.Created, updated: now, manager: m,
		done: make(chan struct{}), status: api.Pending, metadata: maps.Clone(t.Metadata), connects: t.Connect != nil,
	}
	if o.id == "" {
		o.id = uuid.NewString()
	}
	if o.created.IsZero() {
		o.created = now
	}
	o.work.Store(&work{run: t.Run, revoke: t.Revoke, connect: t.Connect, cancel: cancel})
	o.task.Run, o.task.Revoke, o.task.Connect = nil, nil, nil
	return o
}

// cancel ends the context of an operation that runs.
func (o *Operation) cancel(cause error) {
	if w := o.work.Load(); w != nil {
		w.cancel(cause)
	}
}

// ID is the operation's UUID.
func (o *Operation) ID() string { return o.id }

// Project is the project the operation belongs to.
func (o *Operation) Project() string { return o.project }

// URL is where the API shows the operation.
func (o *Operation) URL() string { return "/1.0/operations/" + o.id }

// Done is closed once the operation has ended.
func (o *Operation) Done() <-chan struct{} { return o.done }

// Status is the operation's state now.
func (o *Operation) Status() api.StatusCode {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.status
}

// Snapshot is the operation as the API shows it now.
func (o *Operation) Snapshot() api.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.snapshot()
}

func (o *Operation) snapshot() api.Operation {
	op := api.Operation{
		ID: o.id, Class: string(o.class()), Description: o.task.Description,
		CreatedAt: o.created, UpdatedAt: o.updated,
		Status: o.status.String(), StatusCode: o.status,
		Resources: o.task.Resources, Metadata: maps.Clone(o.metadata),
		MayCancel: !o.status.IsFinal() && (o.task.MayCancel || o.class() == ClassToken), Location: "none",
	}
	if o.err != nil {
		op.Err = o.err.Error()
		if o.status == api.Failure {
			op.ErrCode = api.StatusOf(o.err)
		}
	}
	return op
}

func (o *Operation) class() Class {
	if o.task.Class == "" {
		return ClassTask
	}
	return o.task.Class
}

// Wait returns once the operation has ended, or with ctx's error.
func (o *Operation) Wait(ctx context.Context) error {
	select {
	case <-o.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Err is what the operation failed with, once it has ended; nil if it succeeded.
func (o *Operation) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// Cancel asks the operation to end. It returns at once; the state becomes final when the work has been undone.
func (o *Operation) Cancel() error {
	if w := o.work.Load(); w != nil && w.revoke != nil && !o.Status().IsFinal() {
		if err := w.revoke(context.Background()); err != nil {
			return err
		}
	}
	return o.Retire()
}

// Retire is Cancel for whoever has taken back already what Task.Revoke would.
func (o *Operation) Retire() error {
	o.mu.Lock()
	if o.status.IsFinal() {
		o.mu.Unlock()
		return api.BadRequest("Only running operations can be cancelled")
	}
	o.setStatus(api.Cancelling)
	op := o.snapshot()
	o.mu.Unlock()
	o.manager.tell(o.project, op)
	o.cancel(errCancelled)
	return nil
}

// Connect serves one websocket of the operation.
func (o *Operation) Connect(secret string, w http.ResponseWriter, r *http.Request) error {
	if !o.connects {
		return api.BadRequest("Only websocket operations can be connected")
	}
	work := o.work.Load()
	if work == nil || o.Status().IsFinal() {
		return api.BadRequest("Only running operations can be connected")
	}
	return work.connect(secret, w, r)
}

// Update implements Progress.
func (o *Operation) Update(metadata map[string]any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status.IsFinal() {
		return
	}
	if o.metadata == nil {
		o.metadata = map[string]any{}
	}
	for key, value := range metadata {
		if value == nil {
			delete(o.metadata, key)
		} else {
			o.metadata[key] = value
		}
	}
	o.updated = time.Now().UTC()
	o.throttle()
}

// progressInterval is the least time between two events about progress.
const progressInterval = 100 * time.Millisecond

// throttle tells of the present metadata: now if it is time, else when it will be. The last state is never lost.
func (o *Operation) throttle() {
	if o.pending != nil {
		return
	}
	wait := progressInterval - time.Since(o.lastEvent)
	if wait <= 0 {
		o.lastEvent = time.Now()
		o.manager.tell(o.project, o.snapshot())
		return
	}
	o.pending = time.AfterFunc(wait, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.pending = nil
		if o.status.IsFinal() {
			return
		}
		o.lastEvent = time.Now()
		o.manager.tell(o.project, o.snapshot())
	})
}

func (o *Operation) setStatus(s api.StatusCode) {
	o.status = s
	o.updated = time.Now().UTC()
}

// finish makes the state final from what Run returned and why its context ended, if it did.
func (o *Operation) finish(err, cause error) {
	o.mu.Lock()
	switch {
	case err == nil:
		o.setStatus(api.Success)
	case errors.Is(cause, errCancelled) || errors.Is(cause, ErrShutdown):
		o.setStatus(api.Cancelled)
		o.err = err
		if errors.Is(err, context.Canceled) {
			o.err = cause
		}
	default:
		o.setStatus(api.Failure)
		o.err = err
		if errors.Is(cause, context.DeadlineExceeded) {
			o.err = fmt.Errorf("not done within %s: %w", o.bound(), err)
		}
	}
	if o.pending != nil {
		o.pending.Stop()
		o.pending = nil
	}
	o.ended = time.Now()
	op := o.snapshot()
	o.mu.Unlock()
	o.work.Store(nil)
	close(o.done)
	o.manager.tell(o.project, op)
}

func (o *Operation) bound() time.Duration {
	if o.task.Bound > 0 {
		return o.task.Bound
	}
	return o.manager.bound
}

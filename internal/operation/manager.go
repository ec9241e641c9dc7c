package operation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/request"
)

// errCancelled is why an operation's context ended that somebody cancelled.
var errCancelled = errors.New("Operation was cancelled") // clients show it as a sentence

// ErrShutdown is the cause (context.Cause) of the end of an operation that is cut short because the daemon ends.
var ErrShutdown = errors.New("the daemon is stopping")

// ErrNotFound is told of operations that there are not, and that the caller may not see.
var ErrNotFound = api.NotFound("Operation not found")

// Followers is told of every change of an operation. It must not block.
type Followers interface {
	Operation(project string, op api.Operation)
}

const (
	// keepListed is how long an operation that has ended is still listed.
	keepListed = 5 * time.Second
	// keepFinal is how long it can still be asked for by its ID: much longer, so that a client that starts to wait
	// late, or again after its connection broke, gets its answer.
	keepFinal = 60 * time.Second
	// undoTime is how long operations that are cut short at the end of the daemon may take to undo what they began.
	undoTime = 3 * time.Second
	// defaultBound ends tasks that set no bound of their own.
	defaultBound = 12 * time.Hour
)

// Manager starts operations and knows those that run or have ended a moment ago.
type Manager struct {
	// Remarked, if set, is told what a task had to leave out, before its operation ends; entities are named where they can be.
	Remarked func(ctx context.Context, project string, remarks []omitted.Remark)

	followers Followers
	bound     time.Duration
	base      context.Context
	stop      context.CancelCauseFunc
	running   sync.WaitGroup

	mu     sync.Mutex
	all    map[string]*Operation
	closed bool
	sweep  *time.Timer
}

// NewManager makes a manager; followers may be nil.
func NewManager(followers Followers) *Manager {
	base, stop := context.WithCancelCause(context.Background())
	return &Manager{followers: followers, bound: defaultBound, base: base, stop: stop, all: map[string]*Operation{}}
}

// Start runs t in the background. The values of ctx (who asks, in what project) go with it, its end does not.
func (m *Manager) Start(ctx context.Context, project string, t *Task) (*Operation, error) {
	run, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	o := newOperation(m, project, request.CallerFrom(ctx).Identity(), t, cancel)

	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		cancel(ErrShutdown)
		return nil, api.Unavailable("Daemon is shutting down")
	}
	m.all[o.id] = o
	m.running.Add(1)
	m.mu.Unlock()

	m.tell(project, o.Snapshot())
	o.mu.Lock()
	o.setStatus(api.Running)
	op := o.snapshot()
	o.mu.Unlock()
	m.tell(project, op)
	slog.Debug("Started operation", "operation", o.id, "class", op.Class, "description", op.Description, "project", project)

	go m.run(run, o)
	return o, nil
}

type idKey struct{}

// ID is the operation that a task runs as, for names that clients match with it; empty outside of one.
func ID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

func (m *Manager) run(ctx context.Context, o *Operation) {
	defer m.running.Done()
	unlink := context.AfterFunc(m.base, func() { o.cancel(context.Cause(m.base)) })
	defer unlink()
	bounded, release := context.WithTimeout(context.WithValue(ctx, idKey{}, o.id), o.bound())
	bounded, remarks := omitted.Gather(bounded)
	err := call(bounded, o, o.work.Load().run)
	m.remark(ctx, o, remarks.List())
	var cause error
	if err != nil {
		cause = context.Cause(bounded)
	}
	release()
	o.cancel(nil)
	o.finish(err, cause)
	if err != nil {
		slog.Debug("Failure for operation", "operation", o.id, "description", o.task.Description, "err", err)
	} else {
		slog.Debug("Success for operation", "operation", o.id, "description", o.task.Description)
	}
	m.forgetLater()
}

// remark shows what a task had to leave out, as "warnings" in the operation's metadata, and tells whoever keeps such things.
func (m *Manager) remark(ctx context.Context, o *Operation, remarks []omitted.Remark) {
	if len(remarks) == 0 {
		return
	}
	var texts []string
	for i, r := range remarks {
		if r.Message != "" {
			texts = append(texts, r.String())
		}
		if r.Entity == "" {
			remarks[i].Entity = o.about()
		}
	}
	if texts != nil {
		o.Update(map[string]any{"warnings": texts})
	}
	if m.Remarked != nil {
		m.Remarked(context.WithoutCancel(ctx), o.project, remarks)
	}
}

// about is the URL of what the operation is about first.
func (o *Operation) about() string {
	if o.task.About != "" {
		return o.task.About
	}
	for _, kind := range slices.Sorted(maps.Keys(o.task.Resources)) {
		if kind == "containers" && len(o.task.Resources["instances"]) > 0 {
			continue // the same, by its old name
		}
		if urls := o.task.Resources[kind]; len(urls) > 0 {
			return urls[0]
		}
	}
	return ""
}

// call runs the task; a panic in it costs this operation only.
func call(ctx context.Context, o *Operation, run func(context.Context, Progress) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("An operation crashed", "operation", o.id, "description", o.task.Description,
				"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("internal error")
		}
	}()
	if run == nil { // a token, or sockets that live until somebody ends them
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return run(ctx, o)
}

// Get returns an operation by its ID: one that runs, or that ended not long ago.
func (m *Manager) Get(id string) (*Operation, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.all[id]; ok {
		return o, nil
	}
	return nil, ErrNotFound
}

// List returns the operations of a project, oldest first; of all projects if project is empty.
func (m *Manager) List(project string) []*Operation {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []*Operation
	for _, o := range m.all {
		if (project == "" || o.project == project || o.project == "") && o.age() < keepListed {
			list = append(list, o)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].created.Before(list[j].created) })
	return list
}

// Running counts the operations that have not ended.
func (m *Manager) Running() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, o := range m.all {
		if o.age() == 0 {
			n++
		}
	}
	return n
}

// Shutdown takes no more tasks, waits for those that run until ctx ends, then cancels the rest and gives them undoTime to undo what
// they began. Whatever hangs beyond that is left to the next daemon, as after a kill.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.closed = true
	for _, o := range m.all {
		if o.class() != ClassTask { // a shell that somebody left open, a token: nothing of their own to finish
			o.cancel(ErrShutdown)
		}
	}
	m.mu.Unlock()

	ended := make(chan struct{})
	go func() { m.running.Wait(); close(ended) }()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("operations were cancelled: %w", ctx.Err())
		m.stop(ErrShutdown)
		late := time.NewTimer(undoTime)
		defer late.Stop()
		select {
		case <-ended:
		case <-late.C:
			err = fmt.Errorf("%d operations do not end: %w", m.Running(), ctx.Err())
		}
	}
	m.stop(ErrShutdown)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sweep != nil {
		m.sweep.Stop()
	}
	return err
}

// age is how long ago the operation ended; 0 while it runs.
func (o *Operation) age() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended.IsZero() {
		return 0
	}
	return max(time.Since(o.ended), 1)
}

// forgetLater makes sure that what has ended is dropped in time: one timer, whatever the number of operations.
func (m *Manager) forgetLater() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.sweep != nil {
		return
	}
	m.sweep = time.AfterFunc(keepFinal, m.forget)
}

func (m *Manager) forget() {
	m.mu.Lock()
	m.sweep = nil
	left := false
	for id, o := range m.all {
		switch age := o.age(); {
		case age == 0:
		case age >= keepFinal:
			delete(m.all, id)
		default:
			left = true
		}
	}
	m.mu.Unlock()
	if left {
		m.forgetLater()
	}
}

func (m *Manager) tell(project string, op api.Operation) {
	if m.followers != nil {
		m.followers.Operation(project, op)
	}
}

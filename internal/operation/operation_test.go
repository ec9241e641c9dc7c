package operation

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/omitted"
)

type recorder struct {
	mu     sync.Mutex
	states []api.Operation
}

func (r *recorder) Operation(_ string, op api.Operation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.states = append(r.states, op)
}

func (r *recorder) statuses() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, s := range r.states {
		list = append(list, s.Status)
	}
	return list
}

func start(t *testing.T, m *Manager, task *Task) *Operation {
	t.Helper()
	o, err := m.Start(context.Background(), "default", task)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func wait(t *testing.T, o *Operation) api.Operation {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := o.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return o.Snapshot()
}

func TestOutcomes(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	untilEnd := func(ctx context.Context, _ Progress) error { <-ctx.Done(); return ctx.Err() }
	tests := []struct {
		name   string
		task   Task
		cancel bool
		status api.StatusCode
		err    string
	}{
		{"success", Task{Run: func(context.Context, Progress) error { return nil }}, false, api.Success, ""},
		{"failure", Task{Run: func(context.Context, Progress) error { return errors.New("no") }}, false, api.Failure, "no"},
		{"panic", Task{Run: func(context.Context, Progress) error { panic("x") }}, false, api.Failure, "internal error"},
		{"cancelled", Task{Run: untilEnd}, true, api.Cancelled, "Operation was cancelled"},
		{"out of time", Task{Run: untilEnd, Bound: time.Millisecond}, false, api.Failure, "not done within 1ms: context deadline exceeded"},
		{"token", Task{Class: ClassToken}, true, api.Cancelled, "Operation was cancelled"},
		{"done in spite of cancel", Task{Run: func(ctx context.Context, _ Progress) error { <-ctx.Done(); return nil }}, true, api.Success, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := start(t, m, &tt.task)
			if tt.cancel {
				if err := o.Cancel(); err != nil {
					t.Fatal(err)
				}
			}
			op := wait(t, o)
			if op.StatusCode != tt.status || op.Err != tt.err || op.Status != tt.status.String() {
				t.Errorf("%+v", op)
			}
			if err := o.Cancel(); api.StatusOf(err) != 400 {
				t.Errorf("cancel of an ended operation: %v", err)
			}
			if again, err := m.Get(o.ID()); err != nil || again != o {
				t.Errorf("an operation that has just ended cannot be found: %v", err)
			}
		})
	}
	if _, err := m.Get("nope"); !api.IsNotFound(err) {
		t.Errorf("%v", err)
	}
}

func TestFollowersSeeEveryStateAndTheLastMetadata(t *testing.T) {
	r := &recorder{}
	m := NewManager(r)
	o := start(t, m, &Task{Metadata: map[string]any{"a": 1, "b": 2}, Run: func(_ context.Context, p Progress) error {
		for i := range 1000 {
			p.Update(map[string]any{"step": i, "b": nil})
		}
		return nil
	}})
	op := wait(t, o)
	if op.Metadata["step"] != 999 || op.Metadata["a"] != 1 || op.Metadata["b"] != nil {
		t.Errorf("metadata %v", op.Metadata)
	}
	shutdown(t, m)
	got := r.statuses()
	if len(got) > 50 {
		t.Errorf("%d events for 1000 updates", len(got))
	}
	if got[0] != "Pending" || got[1] != "Running" || got[len(got)-1] != "Success" {
		t.Errorf("%v", got)
	}
}

func TestListIsOfAProjectAndOfAMoment(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	release := make(chan struct{})
	o := start(t, m, &Task{Run: func(context.Context, Progress) error { <-release; return nil }})
	if len(m.List("default")) != 1 || len(m.List("other")) != 0 || len(m.List("")) != 1 || m.Running() != 1 {
		t.Error("list of one running operation")
	}
	close(release)
	wait(t, o)
	if len(m.List("default")) != 1 || m.Running() != 0 {
		t.Error("list right after the end")
	}
	o.mu.Lock()
	o.ended = time.Now().Add(-keepListed)
	o.mu.Unlock()
	if len(m.List("default")) != 0 {
		t.Error("an old operation is listed")
	}
	if _, err := m.Get(o.ID()); err != nil {
		t.Error("an operation that is listed no more must still answer who waits")
	}
	o.mu.Lock()
	o.ended = time.Now().Add(-keepFinal)
	o.mu.Unlock()
	m.forget()
	if _, err := m.Get(o.ID()); err == nil {
		t.Error("an old operation is kept")
	}
}

func TestShutdownWaitsThenCancels(t *testing.T) {
	m := NewManager(nil)
	quick := make(chan struct{})
	a := start(t, m, &Task{Run: func(context.Context, Progress) error { <-quick; return nil }})
	b := start(t, m, &Task{Run: func(ctx context.Context, _ Progress) error { <-ctx.Done(); return ctx.Err() }})
	c := start(t, m, &Task{Class: ClassWebsocket, Run: func(ctx context.Context, _ Progress) error { <-ctx.Done(); return ctx.Err() }})
	go func() {
		_ = c.Wait(context.Background()) // what waits for a client ends at once
		close(quick)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := m.Shutdown(ctx); err == nil {
		t.Error("an operation was cut off, and Shutdown says nothing")
	}
	for o, want := range map[*Operation]api.StatusCode{a: api.Success, b: api.Cancelled, c: api.Cancelled} {
		if op := o.Snapshot(); op.StatusCode != want {
			t.Errorf("%+v, want %d", op, want)
		}
	}
	if _, err := m.Start(context.Background(), "", &Task{}); api.StatusOf(err) != 503 {
		t.Errorf("start after shutdown: %v", err)
	}
}

func TestShutdownDoesNotWaitForWhatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewManager(nil)
		forever := make(chan struct{})
		if _, err := m.Start(t.Context(), "default", &Task{Run: func(context.Context, Progress) error { <-forever; return nil }}); err != nil {
			t.Fatal(err)
		}
		const limit = 20 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		began := time.Now()
		if err := m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 operations do not end") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took > limit+undoTime {
			t.Errorf("it took %s", took)
		}
		close(forever)
	})
}

func TestSecrets(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	o := start(t, m, &Task{Class: ClassWebsocket, Metadata: map[string]any{
		"fds": map[string]string{"0": "s0"}, "secret": "s1", "command": "ls",
	}})
	for secret, want := range map[string]bool{"s0": true, "s1": true, "ls": false, "": false, "x": false} {
		if o.HasSecret(secret) != want {
			t.Errorf("%q: %v", secret, !want)
		}
	}
}

func shutdown(t *testing.T, m *Manager) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func TestATaskKnowsItsOperation(t *testing.T) {
	m := NewManager(nil)
	for _, may := range []bool{false, true} {
		seen, goOn := make(chan string, 1), make(chan struct{})
		o, err := m.Start(t.Context(), "default", &Task{MayCancel: may, Run: func(ctx context.Context, _ Progress) error {
			seen <- ID(ctx)
			<-goOn
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if id := <-seen; id != o.ID() {
			t.Errorf("the task of %s runs as %q", o.ID(), id)
		}
		if got := o.Snapshot().MayCancel; got != may {
			t.Errorf("may_cancel is %v while it runs, want %v", got, may)
		}
		close(goOn)
		<-o.Done()
		if o.Snapshot().MayCancel {
			t.Error("may_cancel is true at the end")
		}
	}
}

func TestAFailureCarriesItsStatus(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"a conflict":             {fmt.Errorf("creating: %w", api.Conflict("it is there")), 409},
		"not known what it is":   {errors.New("no luck"), 500},
		"nothing went wrong":     {nil, 0},
		"what cannot ever be so": {api.BadRequest("no"), 400},
	} {
		o := start(t, m, &Task{Run: func(context.Context, Progress) error { return tt.err }})
		if got := wait(t, o).ErrCode; got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}

// TestWhatATaskLeavesOutIsShown with its operation, and told before that ends.
func TestWhatATaskLeavesOutIsShown(t *testing.T) {
	m := NewManager(nil)
	var told []omitted.Remark
	m.Remarked = func(_ context.Context, project string, remarks []omitted.Remark) {
		if project != "default" {
			t.Errorf("project %q", project)
		}
		told = append(told, remarks...)
	}
	o := start(t, m, &Task{
		Resources: map[string][]string{"containers": {"/1.0/containers/c1"}, "instances": {"/1.0/instances/c1"}},
		Run: func(ctx context.Context, _ Progress) error {
			omitted.Say(ctx, omitted.Remark{Kind: "A", Message: "1"})
			omitted.Say(ctx, omitted.Remark{Kind: "B", Entity: "/1.0/images/x"})
			return nil
		},
	})
	if err := o.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"A: 1"}, o.Snapshot().Metadata["warnings"]); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]omitted.Remark{{Kind: "A", Entity: "/1.0/instances/c1", Message: "1"}, {Kind: "B", Entity: "/1.0/images/x"}}, told); diff != "" {
		t.Error(diff)
	}
}

// TestATokenIsTakenBackBeforeItsEndIsAnswered: whoever cancels it may rely on that, and is told if it was too late.
func TestATokenIsTakenBackBeforeItsEndIsAnswered(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	born := time.Now().Add(-time.Hour).UTC()
	revoked, used := 0, errors.New("it was used")
	refuse := used
	o := start(t, m, &Task{ID: "the-same", Created: born, Class: ClassToken, Revoke: func(context.Context) error { revoked++; return refuse }})
	if op := o.Snapshot(); op.ID != "the-same" || !op.CreatedAt.Equal(born) {
		t.Errorf("%+v", op)
	}
	if err := o.Cancel(); !errors.Is(err, used) || o.Status() != api.Running {
		t.Errorf("%v, %v", err, o.Status())
	}
	refuse = nil
	if err := o.Cancel(); err != nil || o.Status() == api.Running {
		t.Errorf("%v, %v", err, o.Status())
	}
	if op := wait(t, o); op.StatusCode != api.Cancelled || revoked != 2 {
		t.Errorf("%+v, asked %d times", op, revoked)
	}
	o = start(t, m, &Task{Class: ClassToken, Revoke: func(context.Context) error { return used }})
	if err := o.Retire(); err != nil {
		t.Error(err)
	}
	if op := wait(t, o); op.StatusCode != api.Cancelled {
		t.Errorf("%+v", op)
	}
}

// TestWhatWasToldStaysAsItWas: an answer is encoded while its operation goes on, so neither may see the other's writes.
func TestWhatWasToldStaysAsItWas(t *testing.T) {
	r := &recorder{}
	m := NewManager(r)
	defer shutdown(t, m)
	first, updated, second := make(chan struct{}), make(chan struct{}), make(chan struct{})
	asked := map[string]any{"step": 0}
	o := start(t, m, &Task{Metadata: asked, Run: func(_ context.Context, p Progress) error {
		<-first
		p.Update(map[string]any{"step": 1})
		close(updated)
		<-second
		p.Update(map[string]any{"step": 2, "more": true})
		return nil
	}})
	before := o.Snapshot()
	close(first)
	<-updated
	after := o.Snapshot()
	if before.Metadata["step"] != 0 {
		t.Errorf("the first answer became %v", before.Metadata)
	}
	after.Metadata["mine"] = true
	close(second)
	if op := wait(t, o); op.Metadata["step"] != 2 || len(op.Metadata) != 2 {
		t.Errorf("in the end it is %v", op.Metadata)
	}
	if after.Metadata["step"] != 1 || len(after.Metadata) != 2 || len(asked) != 1 || asked["step"] != 0 {
		t.Errorf("the second answer became %v, what was asked %v", after.Metadata, asked)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, told := range r.states {
		if told.Status == "Pending" && told.Metadata["step"] != 0 {
			t.Errorf("the first event became %v", told.Metadata)
		}
	}
}

// TestWhoGivesUpWaitingIsTold apart from whoever saw the end.
func TestWhoGivesUpWaitingIsTold(t *testing.T) {
	m := NewManager(nil)
	defer shutdown(t, m)
	end := make(chan struct{})
	o := start(t, m, &Task{Run: func(context.Context, Progress) error { <-end; return nil }})
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := o.Wait(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	late, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if err := o.Wait(late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("out of time: %v", err)
	}
	if op := o.Snapshot(); op.StatusCode != api.Running && op.StatusCode != api.Pending {
		t.Errorf("it is %s", op.Status)
	}
	close(end)
	wait(t, o)
}

// A secret is what opens something, and no other text of the metadata: the environment of a command says nothing that is not known.
func TestWhatIsNoSecretOpensNothing(t *testing.T) {
	m := NewManager(nil)
	o, err := m.Start(t.Context(), "default", &Task{Class: ClassWebsocket, Metadata: map[string]any{
		"fds": map[string]string{"0": "s3cret"}, "control": "c0ntrol", "environment": map[string]string{"HOME": "/root"}, "command": []string{"sh"}, "fingerprint": "f",
	}})
	if err != nil {
		t.Fatal(err)
	}
	for secret, want := range map[string]bool{"s3cret": true, "c0ntrol": true, "/root": false, "sh": false, "f": false, "": false} {
		if got := o.HasSecret(secret); got != want {
			t.Errorf("%q: %v", secret, got)
		}
	}
	if err := errors.Join(o.Cancel(), m.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
}

package lock

import (
	"context"
	"errors"
	"sync"
)

// Manager holds the locks of one daemon. The zero value is ready.
type Manager struct {
	mu      sync.Mutex
	objects map[Object]*object
}

// object is one object that is held or waited for.
type object struct {
	exclusive *Held
	shared    []*Held
	queue     []*waiter
}

type waiter struct {
	held   *Held
	shared bool
	turn   chan struct{} // closed when the object is granted
}

// Held is what a claim was granted.
type Held struct {
	claim   Claim
	manager *Manager
	wants   []Want // those granted so far, in order
	done    chan struct{}

	// With the manager's mutex held:
	kept     int  // by how many Keep
	released bool // by its owner
}

// Action is what the objects are held for.
func (h *Held) Action() string { return h.claim.Action }

// Done is closed at the release.
func (h *Held) Done() <-chan struct{} { return h.done }

// Release gives everything back, once nobody keeps it any more. A second call does nothing, so that it can be deferred.
func (h *Held) Release() {
	h.manager.mu.Lock()
	defer h.manager.mu.Unlock()
	if h.released {
		return
	}
	h.released = true
	h.giveBack()
}

// giveBack drops what is neither its owner's any more nor kept; the manager's mutex is held.
func (h *Held) giveBack() {
	if !h.released || h.kept > 0 {
		return
	}
	for _, w := range h.wants {
		h.manager.drop(w, h)
	}
	close(h.done)
}

// Keep is for whoever does something beside the holder, such as ending what it works on: nobody else has the objects before release is called, even if
// the holder is done with them. It fails if they have been given back already, when somebody else may have them.
func (h *Held) Keep() (release func(), ok bool) {
	h.manager.mu.Lock()
	defer h.manager.mu.Unlock()
	if h.released {
		return nil, false
	}
	h.kept++
	return sync.OnceFunc(func() {
		h.manager.mu.Lock()
		defer h.manager.mu.Unlock()
		h.kept--
		h.giveBack()
	}), true
}

type heldKey struct{}

// Context adds h to what ctx says is held, for the order of further claims.
func (h *Held) Context(ctx context.Context) context.Context {
	return context.WithValue(ctx, heldKey{}, append(inContext(ctx), h))
}

// inContext lists what the context says is held and has not been released.
func inContext(ctx context.Context) []*Held {
	var live []*Held
	all, _ := ctx.Value(heldKey{}).([]*Held)
	for _, h := range all {
		h.manager.mu.Lock()
		if !h.released {
			live = append(live, h)
		}
		h.manager.mu.Unlock()
	}
	return live
}

// Acquire waits until all that is wanted is granted, as long as the claim's patience says, or fails with nothing held.
func (m *Manager) Acquire(ctx context.Context, c Claim, wants ...Want) (*Held, error) {
	h := &Held{claim: c, manager: m, done: make(chan struct{})}
	wants = inOrder(wants)
	if err := checkOrder(ctx, wants); err != nil {
		return nil, err
	}
	if c.Patience != Unbounded {
		bound := Bound
		if c.Patience == Soon {
			bound = Grace
		}
		bounded, cancel := context.WithTimeoutCause(ctx, bound, errPatience)
		defer cancel()
		return m.acquire(bounded, h, wants)
	}
	return m.acquire(ctx, h, wants)
}

func (m *Manager) acquire(ctx context.Context, h *Held, wants []Want) (*Held, error) {
	for _, w := range wants {
		if err := m.take(ctx, h, w); err != nil {
			h.Release()
			return nil, err
		}
	}
	return h, nil
}

// Try is Acquire without any wait. Where it cannot have one of the objects it returns who holds it.
func (m *Manager) Try(c Claim, wants ...Want) (mine, other *Held) {
	mine = &Held{claim: c, manager: m, done: make(chan struct{})}
	m.mu.Lock()
	for _, w := range inOrder(wants) {
		o := m.object(w.Object)
		if other = o.inTheWay(w.Shared); other != nil {
			break
		}
		o.grant(mine, w.Shared)
		mine.wants = append(mine.wants, w)
	}
	m.mu.Unlock()
	if other != nil {
		mine.Release()
		return nil, other
	}
	return mine, nil
}

// Holder returns who holds an object exclusively, or nil.
func (m *Manager) Holder(o Object) *Held {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held := m.objects[o]; held != nil {
		return held.exclusive
	}
	return nil
}

func checkOrder(ctx context.Context, wants []Want) error {
	for _, h := range inContext(ctx) {
		if len(h.wants) == 0 || len(wants) == 0 {
			continue
		}
		last := h.wants[len(h.wants)-1].Object
		if wants[0].Object.compare(last) <= 0 {
			return errOrder(wants[0].Object, last)
		}
	}
	return nil
}

// errPatience is the cause with which Bound ends a wait.
var errPatience = errors.New("waited too long")

// take waits for one object.
func (m *Manager) take(ctx context.Context, h *Held, want Want) error {
	m.mu.Lock()
	o := m.object(want.Object)
	other := o.inTheWay(want.Shared)
	if other == nil {
		o.grant(h, want.Shared)
		h.wants = append(h.wants, want)
		m.mu.Unlock()
		return nil
	}
	if h.claim.Patience == Short && !other.claim.Brief {
		m.mu.Unlock()
		return busy(want.Object, other.claim.Action)
	}
	w := &waiter{held: h, shared: want.Shared, turn: make(chan struct{})}
	o.queue = append(o.queue, w)
	m.mu.Unlock()
	select {
	case <-w.turn:
		h.wants = append(h.wants, want)
		return nil
	case <-ctx.Done():
		return m.giveUp(ctx, w, h, want)
	}
}

// giveUp takes a waiter out of the queue, unless its turn has come meanwhile.
func (m *Manager) giveUp(ctx context.Context, w *waiter, h *Held, want Want) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-w.turn:
		h.wants = append(h.wants, want)
		return nil
	default:
	}
	o := m.objects[want.Object]
	for n, other := range o.queue {
		if other == w {
			o.queue = append(o.queue[:n], o.queue[n+1:]...)
			break
		}
	}
	action, other := "pending", o.holder()
	if other != nil {
		action = other.claim.Action
	}
	m.next(want.Object)
	switch {
	case !errors.Is(context.Cause(ctx), errPatience):
		return ctx.Err()
	case h.claim.Patience == Soon && other != nil:
		return &Busy{busy(want.Object, action), other}
	}
	return busy(want.Object, action)
}

// object returns the state of an object; the manager's mutex is held.
func (m *Manager) object(name Object) *object {
	o := m.objects[name]
	if o == nil {
		o = &object{}
		if m.objects == nil {
			m.objects = map[Object]*object{}
		}
		m.objects[name] = o
	}
	return o
}

// drop gives one object up and grants it to those that wait for it.
func (m *Manager) drop(w Want, h *Held) {
	o := m.objects[w.Object]
	if w.Shared {
		for n, other := range o.shared {
			if other == h {
				o.shared = append(o.shared[:n], o.shared[n+1:]...)
				break
			}
		}
	} else {
		o.exclusive = nil
	}
	m.next(w.Object)
}

// next grants an object to the head of its queue: to one exclusive waiter, or to all shared ones before the next exclusive one.
func (m *Manager) next(name Object) {
	o := m.objects[name]
	for len(o.queue) > 0 {
		w := o.queue[0]
		if o.exclusive != nil || (!w.shared && len(o.shared) > 0) {
			return
		}
		o.queue = o.queue[1:]
		o.grant(w.held, w.shared)
		close(w.turn)
	}
	if o.exclusive == nil && len(o.shared) == 0 {
		delete(m.objects, name)
	}
}

func (o *object) grant(h *Held, shared bool) {
	if shared {
		o.shared = append(o.shared, h)
	} else {
		o.exclusive = h
	}
}

// holder is one of those that hold the object, or nil.
func (o *object) holder() *Held {
	if o.exclusive == nil && len(o.shared) > 0 {
		return o.shared[0]
	}
	return o.exclusive
}

// inTheWay returns who keeps a new claim from being granted: a holder, or the first that waits.
func (o *object) inTheWay(shared bool) *Held {
	switch {
	case o.exclusive != nil:
		return o.exclusive
	case len(o.queue) > 0:
		return o.queue[0].held
	case !shared && len(o.shared) > 0:
		return o.shared[0]
	}
	return nil
}

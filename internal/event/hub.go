package event

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
)

// Types of events.
const (
	TypeLogging   = "logging"
	TypeOperation = "operation"
	TypeLifecycle = "lifecycle"
)

// queueLength is how many events a listener may be behind before it is dropped.
const queueLength = 512

// Filter says which events a listener gets.
type Filter struct {
	Types    map[string]bool
	Project  string // events of other projects are left out; events without a project reach everybody
	Projects bool   // all projects
	// Sees tells of which projects the listener may hear ("" is what belongs to none); nil: of all. One that may not hear of all is not
	// told secrets of operations either: whoever asked for one has them from the answer.
	Sees func(project string) bool
	// Level is the least level of log lines.
	Level slog.Level
}

// Hub hands events to listeners. Nothing that publishes ever waits for one that listens.
type Hub struct {
	mu        sync.RWMutex
	listeners map[*Listener]struct{}
	closed    bool
	// OnLifecycle is told of each event before anybody else, by who publishes it; nil: nobody. It is set before the first.
	OnLifecycle func(ctx context.Context, action, source string, details map[string]any)
}

// NewHub makes a hub without listeners.
func NewHub() *Hub { return &Hub{listeners: map[*Listener]struct{}{}} }

var _ Publisher = (*Hub)(nil)

// Listener receives events until it is closed, or is dropped because it is too slow.
type Listener struct {
	hub    *Hub
	filter Filter
	queue  chan []byte
	once   sync.Once
}

// Events delivers events as JSON. It is closed when the listener is closed or dropped, or the hub closes.
func (l *Listener) Events() <-chan []byte { return l.queue }

// Close ends the listener.
func (l *Listener) Close() {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	l.drop()
}

// drop needs the hub's lock.
func (l *Listener) drop() {
	delete(l.hub.listeners, l)
	l.once.Do(func() { close(l.queue) })
}

// Listen adds a listener.
func (h *Hub) Listen(f Filter) *Listener {
	l := &Listener{hub: h, filter: f, queue: make(chan []byte, queueLength)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.listeners[l] = struct{}{}
	if h.closed {
		l.drop()
	}
	return l
}

// Close ends all listeners.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for l := range h.listeners {
		l.drop()
	}
}

// Lifecycle implements Publisher.
func (h *Hub) Lifecycle(ctx context.Context, project, action, source string, details map[string]any) {
	if h.OnLifecycle != nil {
		h.OnLifecycle(ctx, action, source, details)
	}
	h.publish(project, TypeLifecycle, 0, func(bool) any {
		return api.EventLifecycle{Action: action, Source: source, Context: details, Requestor: request.Requestor(ctx)}
	})
}

// Operation tells of a change of an operation.
func (h *Hub) Operation(project string, op api.Operation) {
	h.publish(project, TypeOperation, 0, func(guarded bool) any {
		if guarded {
			return operation.WithoutSecrets(op)
		}
		return op
	})
}

// wants tells whether anybody listens to log lines of a level: most of the time nobody does.
func (h *Hub) wants(level slog.Level) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	for l := range h.listeners {
		if l.filter.Types[TypeLogging] && level >= l.filter.Level {
			return true
		}
	}
	return false
}

// publish encodes an event, if anybody wants it, and queues it everywhere it belongs. What it says to listeners that may not hear all, guarded,
// may be less: it is encoded at most once for each.
func (h *Hub) publish(project, kind string, level slog.Level, metadata func(guarded bool) any) {
	var slow []*Listener
	var open, guarded []byte
	h.mu.RLock()
	for l := range h.listeners {
		if !l.filter.match(project, kind, level) {
			continue
		}
		message := &open
		if l.filter.Sees != nil {
			message = &guarded
		}
		if *message == nil {
			*message = encode(project, kind, metadata(l.filter.Sees != nil))
		}
		select {
		case l.queue <- *message:
		default:
			slow = append(slow, l)
		}
	}
	h.mu.RUnlock()
	if slow == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range slow {
		l.drop()
	}
}

func (f Filter) match(project, kind string, level slog.Level) bool {
	if !f.Types[kind] {
		return false
	}
	if kind == TypeLogging && level < f.Level {
		return false
	}
	if f.Sees != nil && !f.Sees(project) {
		return false
	}
	return f.Projects || project == "" || project == f.Project
}

func encode(project, kind string, metadata any) []byte {
	raw, err := json.Marshal(metadata)
	if err != nil {
		raw, _ = json.Marshal(map[string]string{"error": err.Error()})
	}
	data, err := json.Marshal(api.Event{
		Type: kind, Timestamp: time.Now().UTC(), Metadata: raw, Location: "none", Project: project,
	})
	if err != nil {
		return []byte("{}")
	}
	return data
}

package omitted

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// Remark says that a piece of work had to leave something out, for whoever asked for it and for the list of warnings.
type Remark struct {
	Kind    string // a sentence without the details; there is one warning of a kind about an entity
	Entity  string // URL of what lacks something; empty: what the work is about
	Message string // the details; empty if nothing is left out any more
}

// String is the remark in one line.
func (r Remark) String() string { return r.Kind + ": " + r.Message }

// most is how many remarks a piece of work can make. What is beyond is in the log alone.
const most = 20

// Remarks are those of one piece of work. They are safe for concurrent use.
type Remarks struct {
	mu   sync.Mutex
	list []Remark
}

type key struct{}

// Gather returns a context in which Say adds to remarks.
func Gather(ctx context.Context) (context.Context, *Remarks) {
	r := &Remarks{}
	return context.WithValue(ctx, key{}, r), r
}

// List are the remarks so far.
func (r *Remarks) List() []Remark {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// Say makes a remark on the work that runs under ctx, and writes it to the log. Outside of Gather the log is all.
func Say(ctx context.Context, remark Remark) {
	if remark.Message != "" {
		slog.WarnContext(ctx, remark.Kind, "entity", remark.Entity, "omitted", remark.Message)
	}
	r, ok := ctx.Value(key{}).(*Remarks)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.list) < most && !slices.Contains(r.list, remark) {
		r.list = append(r.list, remark)
	}
}

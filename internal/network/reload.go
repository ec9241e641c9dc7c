package network

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// reloadEvery is the least time between two reloads of a dnsmasq that can wait. A reload reads the files of all hosts, and
// dnsmasq answers nobody meanwhile: clients that ask in vain ask again, and a bridge floods that to all the others.
const reloadEvery = 500 * time.Millisecond

// reloadWait bounds a reload that nobody waits for: dnsmasq may be about to start.
const reloadWait = time.Minute

// reloader makes the dnsmasq of each network read its hosts again, once for many changes where they can wait.
type reloader struct {
	reload func(ctx context.Context, network string) error
	every  time.Duration

	mu       sync.Mutex
	networks map[string]*reloads
}

// reloads is when a network was reloaded, and when it will be.
type reloads struct {
	last time.Time
	due  *time.Timer // nil: none
}

func newReloader(reload func(ctx context.Context, network string) error) *reloader {
	return &reloader{reload: reload, every: reloadEvery, networks: map[string]*reloads{}}
}

// now reloads a network. What was put off for it is done with that.
func (r *reloader) now(ctx context.Context, network string) error {
	r.mu.Lock()
	r.of(network).begin()
	r.mu.Unlock()
	return r.reload(ctx, network)
}

// soon reloads at once if the last reload is reloadEvery ago, and otherwise as soon as it is: a single NIC does not wait, and many
// share a reload. If the daemon ends before, its next start reloads.
func (r *reloader) soon(ctx context.Context, network string) error {
	r.mu.Lock()
	n := r.of(network)
	wait := r.every - time.Since(n.last)
	if n.due == nil && wait > 0 {
		n.due = time.AfterFunc(wait, func() { r.due(network) })
	}
	put := n.due != nil
	if !put {
		n.begin()
	}
	r.mu.Unlock()
	if put {
		return nil
	}
	return r.reload(ctx, network)
}

// due does what soon has put off, if it was not done meanwhile.
func (r *reloader) due(network string) {
	r.mu.Lock()
	n := r.of(network)
	due := n.due != nil
	if due {
		n.begin()
	}
	r.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), reloadWait)
	defer cancel()
	if err := r.reload(ctx, network); err != nil {
		slog.Error("DHCP does not know of all NICs", "network", network, "err", err)
	}
}

// close does at once what was put off.
func (r *reloader) close() {
	r.mu.Lock()
	var all []string
	for network := range r.networks {
		all = append(all, network)
	}
	r.mu.Unlock()
	for _, network := range all {
		r.due(network)
	}
}

// of is called with mu held.
func (r *reloader) of(network string) *reloads {
	n := r.networks[network]
	if n == nil {
		n = &reloads{}
		r.networks[network] = n
	}
	return n
}

// begin notes a reload.
func (n *reloads) begin() {
	if n.due != nil {
		n.due.Stop()
		n.due = nil
	}
	n.last = time.Now()
}

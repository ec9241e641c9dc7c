// Package daemon puts the house together: it opens the store, makes every service, gives each what it needs of the
// others, and runs it all until it is told to stop.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/certificate"
	lxchelper "github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/hostinfo"
	"github.com/berthd/berth/internal/identity"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/server"
	"github.com/berthd/berth/internal/servercert"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/unixsocket"
	"github.com/berthd/berth/internal/warning"
)

// Options say how to run a daemon.
type Options struct {
	Root  string // $BERTH_DIR
	Group string // that may use the socket; empty: root only
	// UnprivilegedOnly refuses new privileged instances.
	UnprivilegedOnly bool
	// Hub carries log lines; it exists before the daemon so that they can be heard from the start.
	Hub *event.Hub
}

// Daemon is a running daemon.
type Daemon struct {
	Options
	store     *store.Store
	journal   *journal.Journal
	locks     lock.Manager
	ops       *operation.Manager
	config    *serverconfig.Service
	trust     chan struct{} // that rights may be others than they were
	warnings  *warning.Service
	certs     *certificate.Service
	identity  *identity.Service
	authority authority
	projects  *project.Service
	helper    *hostinfo.Helper
	apparmor  *apparmor.Host
	cert      *servercert.Cert
	https     *addressListener
	metrics   *addressListener
	debug     *addressListener
	server    *server.Server
	services  server.Services

	resources resources

	parts        []part // in the order they start; they stop in the other
	hostWarnings []hostinfo.Warning

	// environment is filled by the services that know: storage drivers in use and supported, runtimes.
	environment environment

	adopted, recovered, ready chan struct{}
	adoptedOnce               sync.Once
	stop                      chan stopRequest
	stopping                  atomic.Bool // somebody has asked for the end
	running                   sync.WaitGroup
}

// part is something with a life of its own. Each function may be nil.
type part struct {
	name string
	// prepare makes usable what the recovery of unfinished changes needs.
	prepare func(ctx context.Context) error
	// recover picks up what was there before the daemon started; changes through the API wait for it.
	recover func(ctx context.Context) error
	// start begins what goes on by itself, such as instances that start with the machine.
	start func(ctx context.Context) error
	// halt stops what must not outlive the machine: instances. It is not called when only the daemon ends.
	halt func(ctx context.Context) error
	// close ends goroutines.
	close func()
}

type stopRequest struct {
	halt    bool // stop instances too
	force   bool
	timeout time.Duration
	done    chan error // told when instances have stopped; may be nil
}

// Path is where a daemon on root keeps its store.
func Path(root string) string { return filepath.Join(root, "database", "berth.db") }

// New opens a daemon on a folder. Nothing runs yet.
func New(o Options) (*Daemon, error) {
	if err := makeLayout(o.Root); err != nil {
		return nil, err
	}
	d := &Daemon{
		Options: o, helper: hostinfo.NewHelper(lxchelper.Find()), apparmor: apparmor.New(o.Root),
		adopted: make(chan struct{}), recovered: make(chan struct{}), ready: make(chan struct{}), stop: make(chan stopRequest, 1),
	}
	// GET /1.0, which is often the first call, shows what the helper says; to ask it takes as long as all else here.
	d.running.Go(func() { d.helper.LXC() })
	if err := d.open(); err != nil {
		d.running.Wait()
		return nil, err
	}
	return d, nil
}

func (d *Daemon) open() error {
	engine, err := store.OpenBolt(Path(d.Root), store.Options{})
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("a daemon is already running on %s: %w", d.Root, err)
	}
	if err != nil {
		return err
	}
	d.store = store.New(engine)
	if err := d.build(); err != nil {
		return errors.Join(err, engine.Close())
	}
	return nil
}

// build makes the services and wires them, then fills their tables.
func (d *Daemon) build() error {
	var err error
	if d.cert, err = servercert.Load(d.Root); err != nil {
		return err
	}
	d.journal = journal.New(d.store)
	d.ops = operation.NewManager(d.Hub)
	d.config = serverconfig.New(d.store, d.Hub)
	d.warnings = warning.New(d.store, d.Hub)
	d.ops.Remarked = d.recordWarnings
	d.projects = project.New(project.Deps{
		Store: d.store, Events: d.Hub, Locks: &d.locks, Journal: d.journal, Users: d.usersOfProject, Contents: d.contentsOfProject, Network: d.networkConfig,
		Profiles: func() project.ProfilesOf { return d.resources.profiles }, EndOperations: d.ops.EndIn,
	})
	d.wireListeners()
	d.wireTrust()
	etags, err := d.cert.Derive("ETag", "")
	if err != nil {
		return err
	}
	d.services = server.Services{
		ETagKey:    []byte(etags),
		Operations: d.ops, Events: d.Hub, Config: d.config, Environment: d.describe, Lifetime: d,
		Certificates: d.certs, Identities: d.identity, Projects: d.projects, Warnings: d.warnings,
	}
	if err := d.wire(); err != nil {
		return err
	}
	if err := d.store.Load(context.Background()); err != nil {
		return err
	}
	d.server = server.New(d.services, server.SocketAuth{TLS: server.TLSAuth{Store: d.certs, Authority: d.authority, Identities: d.identity}})
	return nil
}

// Ready implements server.Lifetime.
func (d *Daemon) Ready() <-chan struct{} { return d.ready }

// Adopted implements server.Lifetime.
func (d *Daemon) Adopted() <-chan struct{} { return d.adopted }

// markAdopted closes adopted; that it is closed already is no error.
func (d *Daemon) markAdopted() { d.adoptedOnce.Do(func() { close(d.adopted) }) }

// Recovered implements server.Lifetime.
func (d *Daemon) Recovered() <-chan struct{} { return d.recovered }

// Run serves until ctx ends, which leaves instances running, or Shutdown is called.
func (d *Daemon) Run(ctx context.Context) error {
	listeners, err := d.listeners()
	if err != nil {
		return errors.Join(err, d.store.Close())
	}
	for _, l := range listeners {
		if u, ok := l.(*net.UnixListener); ok {
			plain, secure := server.SplitSocket(u)
			d.serveSocket(plain)
			d.serveSocket(server.NewTLSListener(secure, d.cert.TLS))
		} else {
			d.serveSocket(l)
		}
	}
	slog.Info("Daemon answers", "socket", listeners[0].Addr().String())

	life, end := context.WithCancel(context.Background())
	defer end()
	var starting sync.WaitGroup
	starting.Go(func() { d.bringUp(life) })
	d.running.Go(func() { d.retry(life) })
	d.running.Go(func() { d.followTrust(life) })
	d.running.Go(func() { watchdog(life, func() { d.config.Get("core.https_address") }) })

	var req stopRequest
	select {
	case <-ctx.Done():
	case req = <-d.stop:
	}
	d.stopping.Store(true)
	end()
	within(partTime, "start", starting.Wait)
	return d.takeDown(req)
}

func (d *Daemon) serveSocket(l net.Listener) {
	d.running.Go(func() {
		if err := d.server.Serve(l); err != nil {
			slog.Error("Socket failed", "err", err)
		}
	})
}

func (d *Daemon) listeners() ([]net.Listener, error) {
	list, err := unixsocket.Passed()
	if err != nil || len(list) > 0 {
		return list, err
	}
	l, err := unixsocket.Listen(filepath.Join(d.Root, "unix.socket"), d.Group) // the store's lock keeps other daemons away
	if err != nil {
		return nil, err
	}
	return []net.Listener{l}, nil
}

// bringUp does what belongs to the start beyond answering: clear up, pick up, listen on the network, start.
func (d *Daemon) bringUp(ctx context.Context) {
	d.startListeners(ctx)
	d.each(ctx, "prepare", func(p part) func(context.Context) error { return p.prepare })
	if err := d.journal.Recover(ctx); err != nil {
		slog.Error("Recovery failed", "err", err)
	}
	d.each(ctx, "recover", func(p part) func(context.Context) error { return p.recover })
	d.markAdopted() // where the start was cut off before it came to that
	d.raiseWarnings(ctx)
	close(d.recovered)
	notifyReady()
	d.each(ctx, "start", func(p part) func(context.Context) error { return p.start })
	close(d.ready)
	slog.Info("Daemon is ready")
}

// retry goes on with what the start could not recover, as its pool was away, once all else is as it was.
func (d *Daemon) retry(ctx context.Context) {
	select {
	case <-d.recovered:
		d.journal.Retry(ctx)
	case <-ctx.Done():
	}
}

// each takes one step of the start with every part. One that fails keeps neither the others nor the daemon down.
func (d *Daemon) each(ctx context.Context, step string, of func(part) func(context.Context) error) {
	for _, p := range d.parts {
		f := of(p)
		if f == nil || ctx.Err() != nil {
			continue
		}
		if err := f(ctx); err != nil {
			slog.Error("A part of the daemon did not start as it should", "part", p.name, "step", step, "err", err)
		}
	}
}

func (d *Daemon) raiseWarnings(ctx context.Context) {
	var host []warning.Host
	for _, l := range append(hostinfo.Warnings(), append(d.unconfined(), d.hostWarnings...)...) {
		host = append(host, warning.Host{Type: l.Type, Severity: warning.Low, Message: l.Message})
	}
	d.warnings.ResolveAtStart(ctx, host)
}

package etcd

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"

	"github.com/berthd/berth/internal/store"
)

// Config configures a member. URLs look like "https://192.0.2.1:2380".
type Config struct {
	Name string // unique in the cluster
	Dir  string // of its data; made if it is not there
	// Listen is where other members reach this one, and Advertise where they look for it: the same, as a rule.
	Listen, Advertise string
	// Founders are the members that the cluster begins with, by name: where each advertises itself. It matters when a member
	// starts for the first time.
	Founders map[string]string
	// Join tells that the cluster exists already and this member has been added to it.
	Join bool
	// Peers is how members know each other. The zero value has no encryption.
	Peers transport.TLSInfo
	Log   *slog.Logger
}

// keep is how many revisions can be watched from, at least.
const keep = "10000"

func (c Config) embedded() (*embed.Config, error) {
	listen, err := url.Parse(c.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen %q: %w", c.Listen, err)
	}
	advertise, err := url.Parse(c.Advertise)
	if err != nil {
		return nil, fmt.Errorf("advertise %q: %w", c.Advertise, err)
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = c.Name, c.Dir
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{*listen}, []url.URL{*advertise}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil // our only client is in this process
	cfg.PeerTLSInfo = c.Peers
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModeRevision, keep
	cfg.MaxTxnOps = store.MaxOps
	var founders []string
	for _, name := range slices.Sorted(maps.Keys(c.Founders)) {
		founders = append(founders, name+"="+c.Founders[name])
	}
	cfg.InitialCluster = strings.Join(founders, ",")
	if c.Join {
		cfg.ClusterState = embed.ClusterStateFlagExisting
	}
	return cfg, nil
}

// Member is an etcd server in this process.
type Member struct {
	etcd  *embed.Etcd
	alive context.Context // ends with the cause when the member has failed or is closed
	end   context.CancelCauseFunc
}

// Start starts a member and waits until it serves, which takes a quorum of the members. Should its disk fail later on, it
// fails, and not the process: every call ends in store.ErrUnavailable, and only a new start of the process helps.
func Start(ctx context.Context, c Config) (*Member, error) {
	cfg, err := c.embedded()
	if err != nil {
		return nil, fmt.Errorf("start etcd: %w", err)
	}
	m := &Member{}
	m.alive, m.end = context.WithCancelCause(context.WithoutCancel(ctx))
	log := c.Log
	if log == nil {
		log = slog.Default()
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(newLogger(log, m.fail))

	type started struct {
		etcd *embed.Etcd
		err  error
	}
	begun := make(chan started, 1)
	go func() { // which may be ended by a failure
		e, err := embed.StartEtcd(cfg)
		begun <- started{e, err}
	}()
	select {
	case s := <-begun:
		if s.err != nil {
			return nil, fmt.Errorf("start etcd: %w", s.err)
		}
		m.etcd = s.etcd
	case <-m.alive.Done():
		return nil, fmt.Errorf("start etcd: %w", context.Cause(m.alive))
	}
	select {
	case <-m.etcd.Server.ReadyNotify():
		return m, nil
	case <-m.alive.Done():
		err = context.Cause(m.alive)
	case <-m.etcd.Server.StopNotify():
		err = fmt.Errorf("%w: the server has stopped", store.ErrUnavailable)
	case <-ctx.Done():
		err = fmt.Errorf("the members do not come together: %w", ctx.Err())
	}
	m.Close()
	return nil, fmt.Errorf("start etcd: %w", err)
}

// fail notes that the server cannot go on; what it says is why.
func (m *Member) fail(why string) {
	m.end(fmt.Errorf("%w: etcd has failed, and needs a restart of the daemon: %s", store.ErrUnavailable, why))
}

// Engine makes an engine that calls the member without a detour over the network.
func (m *Member) Engine(opts Options) *Engine {
	return newEngine(m.alive, v3client.New(m.etcd.Server), opts)
}

// Failed is closed when the member has failed or is closed.
func (m *Member) Failed() <-chan struct{} { return m.alive.Done() }

// closeTime bounds the end of a server: one that has failed may never get there.
const closeTime = 10 * time.Second

// Close stops the member; if it leads, another takes over first.
func (m *Member) Close() {
	m.end(store.ErrClosed)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		m.etcd.Close()
	}()
	select {
	case <-closed:
	case <-time.After(closeTime):
		m.etcd.GetLogger().Warn("etcd does not stop")
	}
}

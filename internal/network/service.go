// Package network holds the use-cases and rules of networks: the managed ones, which it keeps and brings up, and the
// host's other interfaces, which it only shows.
package network

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Deps is what the service stands on.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Events  event.Publisher
	// Locks are those of the daemon; nil: of this service alone.
	Locks *lock.Manager
	// Dir is the folder of the networks' own folders: <root>/networks.
	Dir string
	// AppArmor confines the networks' dnsmasq; nil: nothing does.
	AppArmor *apparmor.Host
	// Projects tells in which project a project's networks are; nil: there is the default one alone.
	Projects Projects
	// UsedBy lists the URLs of the instances and profiles whose NICs use a network of a project; nil: none.
	UsedBy func(project, name string) []string
	// Started is told the outcome of each attempt to bring a network up, for a warning to be made or resolved; may be nil.
	Started func(ctx context.Context, project, name string, err error)
}

// Projects is what networks need of projects; *project.Service implements it.
type Projects interface {
	project.Homes
	Hold(ctx context.Context, action, name string) (context.Context, func(), error)
	Allows(name string, needs ...project.Need) error
}

// Service keeps the networks. A project is always the one that a request is about; where it shares the networks of the default project,
// those are meant. Its methods are safe for concurrent use.
type Service struct {
	Deps
	table *store.Table[record]

	subnets subnets

	hostsMu sync.Mutex // of the map alone
	hosts   map[string]*hosts

	reloads *reloader

	statusMu sync.Mutex
	failed   map[string]error         // why a network is not up, by project/name
	applied  map[string]bridge.Config // what it was last brought to, by name
}

// New makes the service; it owns the table "networks".
func New(d Deps) *Service {
	s := &Service{Deps: d, table: store.NewTable[record](d.Store, "networks"), failed: map[string]error{},
		applied: map[string]bridge.Config{}, hosts: map[string]*hosts{}, subnets: subnets{pending: map[string][]netip.Prefix{}}}
	s.reloads = newReloader(func(ctx context.Context, network string) error { return bridge.ReloadDnsmasq(ctx, s.dir(network)) })
	if s.Locks == nil {
		s.Locks = &lock.Manager{}
	}
	if s.Projects == nil {
		s.Projects = project.Single{}
	}
	if s.UsedBy == nil {
		s.UsedBy = func(string, string) []string { return nil }
	}
	s.registerRecovery()
	return s
}

// upWait bounds what one network may take at the daemon's start or end.
const upWait = 2 * time.Minute

// Start brings every network up. One that fails is Unavailable and does not keep the others, or the daemon, down.
func (s *Service) Start(ctx context.Context) {
	s.sweepProfiles()
	_ = s.each(ctx, "start", func(ctx context.Context, row store.Row[record]) error {
		r, err := s.identify(ctx, row)
		if err == nil {
			err = s.up(ctx, r)
		}
		if err != nil {
			slog.Error("Network did not come up", "project", r.Project, "network", r.Name, "err", err)
		}
		return err
	})
}

// identify gives a network that is older than identities one.
func (s *Service) identify(ctx context.Context, row store.Row[record]) (record, error) {
	r := *row.Value
	if r.UUID != "" {
		return r, nil
	}
	r.UUID, r.Older = uuid.NewString(), true
	_, err := s.Store.Commit(ctx, s.table.Replace(row, &r))
	return r, err
}

// Shutdown takes every network down, for when the host or the whole service goes down with its instances. An end
// of the daemon alone leaves them up.
func (s *Service) Shutdown(ctx context.Context) error {
	return s.each(ctx, "stop", func(ctx context.Context, row store.Row[record]) error {
		if err := bridge.Down(ctx, row.Value.Name, row.Value.UUID, s.dir(row.Value.Name)); err != nil {
			return err // what runs stays confined
		}
		return s.AppArmor.Unload(apparmor.Dnsmasq, row.Value.UUID)
	})
}

// each does something with every network, side by side: one that hangs holds up no other.
func (s *Service) each(ctx context.Context, action string, do func(context.Context, store.Row[record]) error) error {
	ctx, cancel := context.WithTimeout(ctx, upWait)
	defer cancel()
	rows := s.table.List()
	errs := make([]error, len(rows))
	var wg sync.WaitGroup
	for n, row := range rows {
		wg.Go(func() {
			release, err := s.claim(ctx, action, row.Path[0], row.Path[1])
			if err != nil {
				errs[n] = err
				return
			}
			defer release()
			if now, ok := s.table.Get(row.Path...); ok {
				errs[n] = do(ctx, now)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close does at once what was put off.
func (s *Service) Close() { s.reloads.close() }

// up brings the network to its record and notes how that went.
func (s *Service) up(ctx context.Context, r record) error {
	c, err := s.compile(r)
	if err == nil {
		err = adoptFolder(c.Dir, r.UUID)
	}
	if err == nil {
		s.statusMu.Lock()
		s.applied[r.Name] = c
		s.statusMu.Unlock()
		err = bridge.Up(ctx, c)
	}
	s.note(ctx, r, err)
	return err
}

// compile is compile for the service's own host.
func (s *Service) compile(r record) (bridge.Config, error) {
	c, err := compile(r, s.dir(r.Name))
	c.AppArmor = s.AppArmor
	return c, err
}

// sweepProfiles takes away the profiles of networks that are no more, which a daemon that was killed has left.
func (s *Service) sweepProfiles() {
	known := map[string]bool{}
	for _, row := range s.table.List() {
		known[row.Value.UUID] = true
	}
	is := func(id string) bool { return known[id] }
	if err := s.AppArmor.Sweep(apparmor.Dnsmasq, is, is); err != nil {
		slog.Error("AppArmor profiles of networks are left", "err", err)
	}
}

// inForce is the configuration that a network was last brought to, or is about to be.
func (s *Service) inForce(network string) (bridge.Config, error) {
	s.statusMu.Lock()
	c, ok := s.applied[network]
	s.statusMu.Unlock()
	if ok {
		return c, nil
	}
	r, ok := s.byInterface(network)
	if !ok {
		return c, api.NotFound("Network not found")
	}
	return s.compile(*r)
}

func (s *Service) note(ctx context.Context, r record, err error) {
	s.statusMu.Lock()
	if err != nil {
		s.failed[r.Project+"/"+r.Name] = err
	} else {
		delete(s.failed, r.Project+"/"+r.Name)
	}
	s.statusMu.Unlock()
	if s.Started != nil {
		s.Started(ctx, r.Project, r.Name, err)
	}
}

// gone forgets the state of a network that was deleted or renamed.
func (s *Service) gone(ctx context.Context, r record) {
	s.statusMu.Lock()
	delete(s.applied, r.Name)
	s.statusMu.Unlock()
	s.note(ctx, r, nil)
}

func (s *Service) status(r *record) string {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	if s.failed[r.Project+"/"+r.Name] != nil {
		return "Unavailable"
	}
	return "Created"
}

func (s *Service) dir(name string) string { return filepath.Join(s.Dir, name) }

// Home is the project that a project's networks are in.
func (s *Service) Home(name string) string { return s.Projects.Effective(project.Networks, name) }

// url is where the API shows a network.
func url(home, name string) string { return project.URL(home, "networks", name) }

// homeFor is Home for whoever makes a network.
func (s *Service) homeFor(ctx context.Context, name string) (string, error) {
	return project.Home(ctx, s.Projects, access.Network, name, access.CanCreateNetworks, "")
}

// find is the project that a project's network is in (api.NotFound: the project is restricted to others).
func (s *Service) find(of, name string) (home string, err error) {
	home = s.Home(of)
	return home, s.findable(of, home, name)
}

// findFor is find for whoever changes the network.
func (s *Service) findFor(ctx context.Context, of, name string, may access.Entitlement) (home string, err error) {
	if home, err = project.Home(ctx, s.Projects, access.Network, of, may, name); err != nil {
		return "", err
	}
	return home, s.findable(of, home, name)
}

// findable fails where a project is restricted to other networks than one (api.NotFound).
func (s *Service) findable(of, home, name string) error {
	_, managed := s.table.Get(home, name)
	if s.Projects.Allows(of, project.NetworkNeed(name, managed)) != nil {
		return api.NotFound("Network not found")
	}
	return nil
}

func (s *Service) row(project, name string) (store.Row[record], error) {
	row, ok := s.table.Get(project, name)
	if !ok {
		return row, api.NotFound("Failed loading network: Network not found")
	}
	return row, nil
}

// byInterface finds the managed network of an interface of the host, whatever its project.
func (s *Service) byInterface(name string) (*record, bool) {
	for _, row := range s.table.List() {
		if row.Value.Name == name {
			return row.Value, true
		}
	}
	return nil, false
}

// randomMAC is an address of the prefix that LXD's users know.
func randomMAC() string {
	mac := net.HardwareAddr{0x00, 0x16, 0x3e, 0, 0, 0}
	_, _ = rand.Read(mac[3:]) // never fails
	return mac.String()
}

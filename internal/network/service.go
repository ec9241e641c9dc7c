// Package network holds the use-cases and rules of networks: the managed ones, which it keeps and brings up, and the
// host's other interfaces, which it only shows.
package network

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/store"
)

// Deps is what the service stands on.
type Deps struct {
	Store   *store.Store
	Journal *journal.Journal
	Events  event.Publisher
	// Dir is the folder of the networks' own folders: <root>/networks.
	Dir string
	// UsedBy lists the URLs of the instances and profiles whose NICs use a network of a project; nil: none.
	UsedBy func(project, name string) []string
	// Started is told the outcome of each attempt to bring a network up, for a warning to be made or resolved; may be nil.
	Started func(ctx context.Context, project, name string, err error)
}

// Service keeps the networks. Its methods are safe for concurrent use.
type Service struct {
	Deps
	table *store.Table[record]

	mu sync.Mutex // one change at a time: they share addresses, the firewall and the names of interfaces

	hostsMu sync.Mutex               // a check for conflicts and the write that follows are one step
	hosts   map[string]*reservations // by network, filled when first asked for

	reloads *reloader

	statusMu sync.Mutex
	failed   map[string]error // why a network is not up, by project/name
}

// New makes the service; it owns the table "networks".
func New(d Deps) *Service {
	s := &Service{Deps: d, table: store.NewTable[record](d.Store, "networks"), failed: map[string]error{},
		hosts: map[string]*reservations{}}
	s.reloads = newReloader(func(network string) error { return bridge.ReloadDnsmasq(s.dir(network)) })
	if s.UsedBy == nil {
		s.UsedBy = func(string, string) []string { return nil }
	}
	s.registerRecovery()
	return s
}

// Start brings every network up. One that fails is Unavailable and does not keep the others, or the daemon, down.
func (s *Service) Start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wg sync.WaitGroup
	for _, row := range s.table.List() {
		wg.Go(func() {
			if err := s.up(ctx, *row.Value); err != nil {
				slog.Error("Network did not come up", "project", row.Value.Project, "network", row.Value.Name, "err", err)
			}
		})
	}
	wg.Wait()
}

// Shutdown takes every network down, for when the host or the whole service goes down with its instances. An end
// of the daemon alone leaves them up.
func (s *Service) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, row := range s.table.List() {
		errs = append(errs, bridge.Down(ctx, row.Value.Name, s.dir(row.Value.Name)))
	}
	return errors.Join(errs...)
}

// Close does at once what was put off.
func (s *Service) Close() { s.reloads.close() }

// up brings the network to its record and notes how that went.
func (s *Service) up(ctx context.Context, r record) error {
	c, err := compile(r, s.dir(r.Name))
	if err == nil {
		err = bridge.Up(ctx, c)
	}
	s.note(ctx, r, err)
	return err
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

func (s *Service) status(r *record) string {
	s.statusMu.Lock()
	defer s.statusMu.Unlock()
	if s.failed[r.Project+"/"+r.Name] != nil {
		return "Unavailable"
	}
	return "Created"
}

func (s *Service) dir(name string) string { return filepath.Join(s.Dir, name) }

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

// fill puts generated values in the place of "auto", and on creation where addresses are missing.
func (s *Service) fill(r *record, creating bool) error {
	for family, choose := range map[string]func([]netip.Prefix) (netip.Prefix, error){
		"ipv4": bridge.ChooseIPv4, "ipv6": bridge.ChooseIPv6,
	} {
		key := family + ".address"
		if v := r.Config[key]; v != "auto" && (v != "" || !creating) {
			continue
		}
		p, err := choose(s.taken())
		if err != nil {
			return fmt.Errorf("Failed generating auto config: %w", err)
		}
		r.Config[key] = p.String()
		if creating && r.Config[family+".nat"] == "" {
			r.Config[family+".nat"] = "true"
		}
	}
	return nil
}

// taken lists the subnets of all networks, up or not.
func (s *Service) taken() []netip.Prefix {
	var taken []netip.Prefix
	for _, row := range s.table.List() {
		for _, key := range []string{"ipv4.address", "ipv6.address"} {
			if p, err := netip.ParsePrefix(row.Value.Config[key]); err == nil {
				taken = append(taken, p.Masked())
			}
		}
	}
	return taken
}

// randomMAC is an address of the prefix that LXD's users know.
func randomMAC() string {
	mac := net.HardwareAddr{0x00, 0x16, 0x3e, 0, 0, 0}
	_, _ = rand.Read(mac[3:]) // never fails
	return mac.String()
}

// clean copies a configuration without its empty values.
func clean(c map[string]string) map[string]string {
	out := maps.Clone(c)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(_, v string) bool { return v == "" })
	return out
}

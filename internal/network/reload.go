package network

import (
	"log/slog"
	"time"

	"github.com/berthd/berth/internal/driver/network/bridge"
)

// reloadEvery is the least time between two reloads of a dnsmasq that can wait. A reload reads the files of all hosts, and
// dnsmasq answers nobody meanwhile: clients that ask in vain ask again, and a bridge floods that to all the others.
const reloadEvery = 500 * time.Millisecond

// reloads is when the dnsmasq of a network was told to read its hosts, and when it will be.
type reloads struct {
	last  time.Time
	due   *time.Timer // nil: none
	count int
}

// reloadNow has the dnsmasq of a network read its hosts again. What was put off for it is done with that.
func (s *Service) reloadNow(network string) error {
	s.reloadMu.Lock()
	r := s.reloadsOf(network)
	if r.due != nil {
		r.due.Stop()
		r.due = nil
	}
	r.last = time.Now()
	r.count++
	s.reloadMu.Unlock()
	return bridge.ReloadDnsmasq(s.dir(network))
}

// reloadSoon does so at once if it was not done for that long, else as soon as that has passed: one NIC does not wait, and
// many cost few reloads. If the daemon ends before, its next start does it.
func (s *Service) reloadSoon(network string) error {
	s.reloadMu.Lock()
	r := s.reloadsOf(network)
	wait := s.reloadEvery - time.Since(r.last)
	if r.due == nil && wait > 0 {
		r.due = time.AfterFunc(wait, func() { s.reloadDue(network) })
	}
	put := r.due != nil
	s.reloadMu.Unlock()
	if put {
		return nil
	}
	return s.reloadNow(network)
}

// reloadsOf is called with reloadMu held.
func (s *Service) reloadsOf(network string) *reloads {
	r := s.reloads[network]
	if r == nil {
		r = &reloads{}
		s.reloads[network] = r
	}
	return r
}

// reloadDue does what reloadSoon has put off, if it was not done meanwhile.
func (s *Service) reloadDue(network string) {
	s.reloadMu.Lock()
	due := s.reloads[network] != nil && s.reloads[network].due != nil
	s.reloadMu.Unlock()
	if !due {
		return
	}
	if err := s.reloadNow(network); err != nil {
		slog.Error("DHCP does not know of all NICs", "network", network, "err", err)
	}
}

// Close does at once what was put off.
func (s *Service) Close() {
	s.reloadMu.Lock()
	var all []string
	for network := range s.reloads {
		all = append(all, network)
	}
	s.reloadMu.Unlock()
	for _, network := range all {
		s.reloadDue(network)
	}
}

package network

import (
	"log/slog"
	"time"

	"github.com/berthd/berth/internal/driver/network/bridge"
)

// reloadDelay is how long dnsmasq may go on knowing of a NIC that is gone. It reads all hosts anew to forget one, so that
// many that go at once are better forgotten together.
const reloadDelay = 100 * time.Millisecond

// reloadSoon has the dnsmasq of a network read its hosts again within reloadDelay. If the daemon ends before, its next
// start does it.
func (s *Service) reloadSoon(network string) {
	s.reloadMu.Lock()
	defer s.reloadMu.Unlock()
	if s.reloads[network] == nil {
		s.reloads[network] = time.AfterFunc(reloadDelay, func() { s.reload(network) })
	}
}

// reload does what reloadSoon has put off, if it was not done meanwhile.
func (s *Service) reload(network string) {
	s.reloadMu.Lock()
	timer := s.reloads[network]
	delete(s.reloads, network)
	s.reloadMu.Unlock()
	if timer == nil {
		return
	}
	timer.Stop()
	if err := bridge.ReloadDnsmasq(s.dir(network)); err != nil {
		slog.Error("DHCP may still know of NICs that are gone", "network", network, "err", err)
	}
}

// Close does at once what was put off.
func (s *Service) Close() {
	s.reloadMu.Lock()
	var late []string
	for network := range s.reloads {
		late = append(late, network)
	}
	s.reloadMu.Unlock()
	for _, network := range late {
		s.reload(network)
	}
}

package network

import (
	"slices"
	"sync"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/driver/network/bridge"
)

// reservations is what the folder of a network says of its NICs, kept so that one more does not read those of all.
// The folder stays the truth: nobody else writes there, and what it says is read again after a start.
type reservations struct {
	hosts map[string]bridge.Host // by the name of the file
	users map[claim][]string     // the files that claim something; more than one only by a change of dns.mode
}

// claim is one thing that no two NICs of a network may have. Its fields are the kind and the value.
type claim struct{ kind, value string }

const (
	claimMAC  = "MAC address"
	claimIP   = "IP address"
	claimName = "Instance DNS name"
)

func newReservations(hosts map[string]bridge.Host) *reservations {
	r := &reservations{hosts: map[string]bridge.Host{}, users: map[claim][]string{}}
	for file, h := range hosts {
		r.set(file, h)
	}
	return r
}

func claims(h bridge.Host) []claim {
	list := []claim{{claimMAC, h.HWAddr.String()}}
	if h.IPv4.IsValid() {
		list = append(list, claim{claimIP, h.IPv4.String()})
	}
	if h.IPv6.IsValid() {
		list = append(list, claim{claimIP, h.IPv6.String()})
	}
	if h.Name != "" {
		list = append(list, claim{claimName, h.Name})
	}
	return list
}

func (r *reservations) set(file string, h bridge.Host) {
	r.remove(file)
	r.hosts[file] = h
	for _, c := range claims(h) {
		r.users[c] = append(r.users[c], file)
	}
}

func (r *reservations) remove(file string) {
	h, ok := r.hosts[file]
	if !ok {
		return
	}
	delete(r.hosts, file)
	for _, c := range claims(h) {
		left := slices.DeleteFunc(r.users[c], func(f string) bool { return f == file })
		if r.users[c] = left; len(left) == 0 {
			delete(r.users, c)
		}
	}
}

// conflict tells what another NIC has of what h asks for.
func (r *reservations) conflict(file string, h bridge.Host) error {
	for _, c := range claims(h) {
		if !slices.ContainsFunc(r.users[c], func(f string) bool { return f != file }) {
			continue
		}
		if c.kind == claimName {
			return api.BadRequest("Instance DNS name %q already used on network", c.value)
		}
		return api.BadRequest("%s %q already defined on another NIC", c.kind, c.value)
	}
	return nil
}

// hosts are the reservations of one network.
type hosts struct {
	mu     sync.Mutex    // held over files of the network's folder, never over a wait for dnsmasq
	known  *reservations // nil until they are asked for
	closed bool          // the network is being deleted or renamed
}

// hostsOf returns the reservations of a network, which may not exist.
func (s *Service) hostsOf(network string) *hosts {
	s.hostsMu.Lock()
	defer s.hostsMu.Unlock()
	h := s.hosts[network]
	if h == nil {
		h = &hosts{}
		s.hosts[network] = h
	}
	return h
}

// withHosts calls do with the reservations of a network that exists and will for as long as that takes. A check for
// conflicts and the write that follows are one step.
func (s *Service) withHosts(network string, do func(*reservations) error) error {
	h := s.hostsOf(network)
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := s.byInterface(network); !ok || h.closed {
		return api.NotFound("Network not found")
	}
	if h.known == nil {
		read, err := bridge.Hosts(s.dir(network))
		if err != nil {
			return err
		}
		h.known = newReservations(read)
	}
	return do(h.known)
}

// closeHosts keeps NICs from coming to a network that goes, and forgets what is known of its folder. reopen ends that, whether
// the network is gone by then or not.
func (s *Service) closeHosts(network string) (reopen func()) {
	h := s.hostsOf(network)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	return func() {
		s.hostsMu.Lock()
		defer s.hostsMu.Unlock()
		if s.hosts[network] == h {
			delete(s.hosts, network) // read again when asked for, if it is still there
		}
	}
}

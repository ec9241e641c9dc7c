package network

import (
	"fmt"
	"net/netip"
	"sync"

	"github.com/berthd/berth/internal/driver/network/bridge"
)

// subnets are reserved by changes that are not committed yet, by the networks' UUIDs, so that two concurrent changes do not
// choose the same.
type subnets struct {
	mu      sync.Mutex
	pending map[string][]netip.Prefix
}

// fill puts generated values in the place of "auto", and on creation where addresses are missing. What r has then is taken
// until filled is called.
func (s *Service) fill(r *record, creating bool) error {
	s.subnets.mu.Lock()
	defer s.subnets.mu.Unlock()
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
	s.subnets.pending[r.UUID] = prefixesOf(r)
	return nil
}

// filled releases what fill has reserved, once the change is committed or has failed.
func (s *Service) filled(r record) {
	s.subnets.mu.Lock()
	defer s.subnets.mu.Unlock()
	delete(s.subnets.pending, r.UUID)
}

// taken lists the subnets of all networks, up or not, and of those that are being made.
func (s *Service) taken() []netip.Prefix {
	var taken []netip.Prefix
	for _, row := range s.table.List() {
		taken = append(taken, prefixesOf(row.Value)...)
	}
	for _, p := range s.subnets.pending {
		taken = append(taken, p...)
	}
	return taken
}

func prefixesOf(r *record) []netip.Prefix {
	var list []netip.Prefix
	for _, key := range []string{"ipv4.address", "ipv6.address"} {
		if p, err := netip.ParsePrefix(r.Config[key]); err == nil {
			list = append(list, p.Masked())
		}
	}
	return list
}

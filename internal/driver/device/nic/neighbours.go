package nic

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// neighbour is one that the guest has set by hand; those that the kernel has found it finds again.
type neighbour struct {
	Family int    `json:"family"`
	IP     net.IP `json:"ip"`
	HWAddr string `json:"hwaddr,omitempty"`
	Proxy  bool   `json:"proxy,omitempty"` // the guest answers for it
}

// neighbours reads them in the namespace that h is of.
func neighbours(h *netlink.Handle, link netlink.Link) ([]neighbour, error) {
	var all []neighbour
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		for _, list := range []func(index, family int) ([]netlink.Neigh, error){h.NeighList, h.NeighProxyList} {
			found, err := list(link.Attrs().Index, family)
			if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
				return nil, fmt.Errorf("neighbours: %w", err)
			}
			for _, n := range found {
				proxy := n.Flags&unix.NTF_PROXY != 0
				if n.LinkIndex != link.Attrs().Index || !proxy && n.State&unix.NUD_PERMANENT == 0 || len(all) == maxNeighbours {
					continue
				}
				all = append(all, neighbour{Family: family, IP: n.IP, HWAddr: n.HardwareAddr.String(), Proxy: proxy})
			}
		}
	}
	return all, nil
}

func (n neighbour) restore(h *netlink.Handle, link netlink.Link) error {
	k := &netlink.Neigh{LinkIndex: link.Attrs().Index, Family: n.Family, IP: n.IP, State: unix.NUD_PERMANENT}
	if n.Proxy {
		k.Flags = unix.NTF_PROXY
	}
	if n.HWAddr != "" {
		var err error
		if k.HardwareAddr, err = net.ParseMAC(n.HWAddr); err != nil {
			return err
		}
	}
	return h.NeighSet(k)
}

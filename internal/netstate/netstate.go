// Package netstate reads addresses and counters of network interfaces, of the host and of a process's network
// namespace, straight from netlink.
package netstate

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// retries bounds how often a dump that changed under the reader is read again.
const retries = 3

// State returns the interfaces of the network namespace that process pid is in, by name. HostName is filled for
// a veth whose other end is in the caller's namespace.
func State(pid int) (map[string]api.InstanceStateNetwork, error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("network namespace of process %d: %w", pid, err)
	}
	defer h.Close()
	links, addrs, err := read(h)
	if err != nil {
		return nil, fmt.Errorf("network state of process %d: %w", pid, err)
	}
	state := make(map[string]api.InstanceStateNetwork, len(links))
	for _, link := range links {
		a := link.Attrs()
		one := api.InstanceStateNetwork{
			Addresses: []api.InstanceStateNetworkAddress{},
			Hwaddr:    a.HardwareAddr.String(),
			HostName:  peer(link),
			Mtu:       a.MTU,
			State:     upDown(a),
			Type:      kind(a),
		}
		if one.Type == "loopback" {
			one.Hwaddr = ""
		}
		if s := a.Statistics; s != nil {
			one.Counters = counters(s)
		}
		for _, addr := range addrs[a.Index] {
			one.Addresses = append(one.Addresses, api.InstanceStateNetworkAddress(addr))
		}
		state[a.Name] = one
	}
	return state, nil
}

func read(h *netlink.Handle) ([]netlink.Link, map[int][]api.NetworkStateAddress, error) {
	var links []netlink.Link
	var list []netlink.Addr
	err := settled(func() (err error) { links, err = h.LinkList(); return err })
	if err == nil {
		err = settled(func() (err error) { list, err = h.AddrList(nil, netlink.FAMILY_ALL); return err })
	}
	if err != nil {
		return nil, nil, err
	}
	addrs := map[int][]api.NetworkStateAddress{}
	for _, a := range list {
		addrs[a.LinkIndex] = append(addrs[a.LinkIndex], address(a))
	}
	return links, addrs, nil
}

// settled repeats a dump that the kernel says was interrupted by a change.
func settled(dump func() error) error {
	var err error
	for range retries {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil // the last dump is as good as any: what it misses has changed just now
}

// peer is the name of a veth's other end if that is in the caller's namespace.
func peer(link netlink.Link) string {
	a := link.Attrs()
	if link.Type() != "veth" || a.ParentIndex == 0 {
		return ""
	}
	other, err := netlink.LinkByIndex(a.ParentIndex)
	if err != nil || other.Type() != "veth" || other.Attrs().ParentIndex != a.Index {
		return ""
	}
	return other.Attrs().Name
}

func address(a netlink.Addr) api.NetworkStateAddress {
	ones, _ := a.Mask.Size()
	family := "inet6"
	if a.IP.To4() != nil {
		family = "inet"
	}
	return api.NetworkStateAddress{Family: family, Address: a.IP.String(), Netmask: strconv.Itoa(ones), Scope: scope(a.IP)}
}

func scope(ip net.IP) string {
	switch {
	case ip.IsLoopback():
		return "local"
	case ip.IsLinkLocalUnicast():
		return "link"
	default:
		return "global"
	}
}

func upDown(a *netlink.LinkAttrs) string {
	if a.Flags&net.FlagUp != 0 {
		return "up"
	}
	return "down"
}

func kind(a *netlink.LinkAttrs) string {
	switch {
	case a.Flags&net.FlagLoopback != 0:
		return "loopback"
	case a.Flags&net.FlagBroadcast != 0:
		return "broadcast"
	case a.Flags&net.FlagPointToPoint != 0:
		return "point-to-point"
	default:
		return "unknown"
	}
}

func counters(s *netlink.LinkStatistics) api.NetworkCounters {
	return api.NetworkCounters{
		BytesReceived:          int64(s.RxBytes),
		BytesSent:              int64(s.TxBytes),
		PacketsReceived:        int64(s.RxPackets),
		PacketsSent:            int64(s.TxPackets),
		ErrorsReceived:         int64(s.RxErrors),
		ErrorsSent:             int64(s.TxErrors),
		PacketsDroppedOutbound: int64(s.TxDropped),
		PacketsDroppedInbound:  int64(s.RxDropped),
	}
}

package netstate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"

	"github.com/berthd/berth/api"
)

// Interface is one interface of the host in a list.
type Interface struct {
	Name string
	// Type is what the API calls it: loopback, bridge, physical, vlan, bond or unknown.
	Type string
}

// Interfaces lists the interfaces of the host, in the kernel's order, without the host's ends of veth pairs.
func Interfaces() ([]Interface, error) {
	var links []netlink.Link
	if err := retryInterrupted(func() (err error) { links, err = netlink.LinkList(); return err }); err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	list := make([]Interface, 0, len(links))
	for _, link := range links {
		if link.Type() != "veth" {
			list = append(list, Interface{Name: link.Attrs().Name, Type: linkType(link)})
		}
	}
	return list, nil
}

// Find returns one interface of the host; false if there is none of that name.
func Find(name string) (Interface, bool) {
	link, err := netlink.LinkByName(name)
	if err != nil || link.Attrs().Name != name { // the kernel also answers to alternative names
		return Interface{}, false
	}
	return Interface{Name: name, Type: linkType(link)}, true
}

func linkType(link netlink.Link) string {
	switch {
	case kind(link.Attrs()) == "loopback":
		return "loopback"
	case link.Type() == "bridge", link.Type() == "vlan", link.Type() == "bond":
		return link.Type()
	}
	if _, err := os.Stat(filepath.Join("/sys/class/net", link.Attrs().Name, "device")); err == nil {
		return "physical"
	}
	return "unknown"
}

// Host returns the live state of one interface of the host; api.NotFound if there is none.
func Host(name string) (*api.NetworkState, error) {
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return nil, api.NotFound("Network interface %q not found", name)
	}
	if err != nil {
		return nil, fmt.Errorf("network interface %q: %w", name, err)
	}
	var addrs []netlink.Addr
	if err := retryInterrupted(func() (err error) { addrs, err = netlink.AddrList(link, netlink.FAMILY_ALL); return err }); err != nil {
		return nil, fmt.Errorf("addresses of network interface %q: %w", name, err)
	}
	a := link.Attrs()
	state := &api.NetworkState{
		Addresses: []api.NetworkStateAddress{},
		Hwaddr:    a.HardwareAddr.String(),
		Mtu:       a.MTU,
		State:     upDown(a.Flags&net.FlagUp != 0),
		Type:      kind(a),
	}
	if kind(a) == "loopback" {
		state.Hwaddr = ""
	}
	if s := a.Statistics; s != nil {
		state.Counters = api.NetworkStateCounters{
			BytesReceived: int64(s.RxBytes), BytesSent: int64(s.TxBytes),
			PacketsReceived: int64(s.RxPackets), PacketsSent: int64(s.TxPackets),
		}
	}
	for _, addr := range addrs {
		state.Addresses = append(state.Addresses, hostAddress(addr))
	}
	switch l := link.(type) {
	case *netlink.Bridge:
		state.Bridge = bridge(name)
	case *netlink.Bond:
		state.Bond = bond(l)
	case *netlink.Vlan:
		state.VLAN = &api.NetworkStateVLAN{VID: uint64(l.VlanId)}
		if lower, err := netlink.LinkByIndex(a.ParentIndex); err == nil {
			state.VLAN.LowerDevice = lower.Attrs().Name
		}
	}
	return state, nil
}

// bridge reads what netlink's library does not decode from sysfs.
func bridge(name string) *api.NetworkStateBridge {
	dir := filepath.Join("/sys/class/net", name)
	b := &api.NetworkStateBridge{
		ID:            sysfs(dir, "bridge/bridge_id"),
		STP:           number(dir, "bridge/stp_state") != 0,
		ForwardDelay:  number(dir, "bridge/forward_delay"),
		VLANDefault:   number(dir, "bridge/default_pvid"),
		VLANFiltering: number(dir, "bridge/vlan_filtering") != 0,
		UpperDevices:  []string{},
	}
	ports, _ := os.ReadDir(filepath.Join(dir, "brif"))
	for _, port := range ports {
		b.UpperDevices = append(b.UpperDevices, port.Name())
	}
	return b
}

func bond(l *netlink.Bond) *api.NetworkStateBond {
	dir := filepath.Join("/sys/class/net", l.Name)
	mii := "down"
	if sysfs(dir, "bonding/mii_status") == "up" {
		mii = "up"
	}
	return &api.NetworkStateBond{
		Mode:           l.Mode.String(),
		TransmitPolicy: l.XmitHashPolicy.String(),
		UpDelay:        uint64(max(l.UpDelay, 0)),
		DownDelay:      uint64(max(l.DownDelay, 0)),
		MIIFrequency:   uint64(max(l.Miimon, 0)),
		MIIState:       mii,
		LowerDevices:   strings.Fields(sysfs(dir, "bonding/slaves")),
	}
}

func sysfs(dir, name string) string {
	data, _ := os.ReadFile(filepath.Join(dir, name))
	return strings.TrimSpace(string(data))
}

func number(dir, name string) uint64 {
	n, _ := strconv.ParseUint(sysfs(dir, name), 10, 64)
	return n
}

// retryInterrupted repeats a dump that the kernel says was interrupted by a change.
func retryInterrupted(dump func() error) error {
	var err error
	for range retries {
		if err = dump(); !errors.Is(err, netlink.ErrDumpInterrupted) {
			return err
		}
	}
	return nil // the last dump is as good as any: what it misses has changed just now
}

func hostAddress(a netlink.Addr) api.NetworkStateAddress {
	ones, _ := a.Mask.Size()
	return api.NetworkStateAddress{Family: family(a.IP), Address: a.IP.String(), Netmask: strconv.Itoa(ones), Scope: scope(a.IP)}
}

func kind(a *netlink.LinkAttrs) string {
	return typeOf(a.Flags&net.FlagLoopback != 0, a.Flags&net.FlagBroadcast != 0, a.Flags&net.FlagPointToPoint != 0)
}

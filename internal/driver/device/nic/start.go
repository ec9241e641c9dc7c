package nic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/hostroute"
	"github.com/berthd/berth/internal/spec"
)

// Instants between the steps of a start.
var (
	startReserved = fault.New("nic.start.reserved")
	startCreated  = fault.New("nic.start.created")
	startUp       = fault.New("nic.start.up")
)

const defaultMTU = 1500

// Start implements device.Module: it makes the interface, with its other end on the host where it has one.
func (m *Module) Start(ctx context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string) (device.Contribution, error) {
	t, err := m.resolve(inst.Project, cfg)
	if err != nil {
		return device.Contribution{}, err
	}
	keep, err := m.Defaults(inst, name, cfg, volatile)
	if err != nil {
		return device.Contribution{}, err
	}
	all := map[string]string{}
	for _, from := range []map[string]string{volatile, keep} {
		for k, v := range from {
			all[k] = v
		}
	}
	n := nicSpec{owner: ownerOf(inst, name), routes: routesOf(inst, name), file: macvlanFile(inst, name), target: t, cfg: cfg, ifname: first("name", cfg, all)}
	if n.hwaddr, err = net.ParseMAC(first("hwaddr", cfg, all)); err != nil {
		return device.Contribution{}, fmt.Errorf("hardware address of device %q: %w", name, err)
	}
	if err := m.reserve(ctx, inst, name, cfg, all, t); err != nil {
		return device.Contribution{}, err
	}
	if err := startReserved.Hit(); err != nil {
		return device.Contribution{}, err
	}
	host, guest, err := n.create()
	if err != nil {
		return device.Contribution{}, errors.Join(err, n.destroy(host))
	}
	if host != "" {
		keep["host_name"] = host
	}
	if cfg["host_name"] != "" && host != "" {
		keep["host_name"] = cfg["host_name"] // from Plug on, where the other slot has it now
	}
	return device.Contribution{
		NICs:     []spec.NIC{{Device: name, HostName: guest, Name: n.ifname, HWAddr: n.hwaddr.String(), MTU: n.mtu}},
		Volatile: keep,
	}, nil
}

// Stop implements device.Module.
func (m *Module) Stop(_ context.Context, inst device.Instance, name string, cfg device.Config, volatile map[string]string) (map[string]string, error) {
	n := m.spec(inst, name, cfg, volatile)
	if err := n.destroy(volatile["host_name"]); err != nil {
		return nil, err
	}
	return map[string]string{"host_name": "", "last_state.created": ""}, nil
}

// nicSpec is one interface to be made.
type nicSpec struct {
	owner  string // as ownerOf makes it
	routes hostroute.Owner
	file   string // the record of a macvlan
	target target
	cfg    device.Config
	ifname string // name inside
	hwaddr net.HardwareAddr
	mtu    int
}

// ownerOf is whose an interface is: "<instance's UUID>/<device>", with the slot behind it if it is not the first. A later
// instance of the same name is another owner. The key volatile.uuid is the user's to set, and two instances may have one: it
// stands in for the identity of instances that are older than identities alone.
func ownerOf(inst device.Instance, name string) string {
	id := cmp.Or(inst.UUID, inst.Config["volatile.uuid"], inst.ID)
	if inst.Slot > 0 {
		return fmt.Sprintf("%s/%s#%d", id, name, inst.Slot)
	}
	return id + "/" + name
}

// sibling is whose an interface of the same device in the other slot is. Names of devices hold no "#".
func sibling(owner string) string {
	if first, ok := strings.CutSuffix(owner, "#1"); ok {
		return first
	}
	return owner + "#1"
}

// alias marks the interfaces of a device on the host.
func (n *nicSpec) alias() string { return "berth:" + n.owner }

// name makes a name for an interface of the device; salt tells apart what would collide.
func (n *nicSpec) name(prefix string, salt int) string {
	h := fnv.New32a()
	fmt.Fprintf(h, "%s#%d", n.owner, salt)
	return fmt.Sprintf("%s%08x", prefix, h.Sum32())
}

// maxSalt bounds the search for a name that no other device has.
const maxSalt = 16

// create makes the interface and returns its host's end, if it has one, and the end to be moved.
func (n *nicSpec) create() (host, guest string, err error) {
	n.mtu = defaultMTU
	var parent netlink.Link
	if n.target.parent != "" {
		if parent, err = netlink.LinkByName(n.target.parent); err != nil {
			if errors.As(err, new(netlink.LinkNotFoundError)) {
				return "", "", api.BadRequest("Parent device %q doesn't exist", n.target.parent)
			}
			return "", "", fmt.Errorf("parent %s: %w", n.target.parent, err)
		}
		n.mtu = parent.Attrs().MTU
	}
	if v, err := strconv.Atoi(n.cfg["mtu"]); err == nil {
		n.mtu = v
	}
	if n.cfg["vlan"] != "" || n.cfg["vlan.tagged"] != "" {
		return "", "", api.BadRequest("VLANs on a NIC are not supported by this server")
	}
	if n.target.kind == macvlan {
		guest, err = n.createMacvlan(parent)
		return "", guest, err
	}
	if host, err = n.hostName(); err != nil {
		return "", "", err
	}
	guest, err = n.createVeth(host, parent)
	return host, guest, err
}

// hostName picks the name of the host's end and clears what an earlier start left under it. A name that the device in
// the other slot has still is left to it: Plug takes it over.
func (n *nicSpec) hostName() (string, error) {
	if name := n.cfg["host_name"]; name != "" && !n.siblingHas(name) {
		mine, err := n.removeMine(name, false)
		if err == nil && !mine {
			err = api.BadRequest("Network interface %q already exists", name)
		}
		return name, err
	}
	for salt := range maxSalt {
		name := n.name("veth", salt)
		if mine, err := n.removeMine(name, true); mine || err != nil {
			return name, err
		}
	}
	return "", fmt.Errorf("no free name for the host's end of %s", n.owner)
}

// removeMine removes an interface of this device; false if it belongs to somebody else. One without an alias counts
// as this device's only if its name can only come from here.
func (n *nicSpec) removeMine(name string, derived bool) (bool, error) {
	if !exists(name) {
		return true, nil
	}
	link, err := netlink.LinkByName(name)
	if errors.As(err, new(netlink.LinkNotFoundError)) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("interface %s: %w", name, err)
	}
	a := link.Attrs()
	if a.Name != name {
		return true, nil // an alternative name of another interface
	}
	if a.Alias != n.alias() && !(derived && a.Alias == "") {
		return false, nil
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, syscall.ENODEV) {
		return true, fmt.Errorf("remove interface %s: %w", name, err)
	}
	return true, nil
}

// exists tells whether an interface has a name. Unlike netlink's, its answer does not wait for the lock that every change of
// an interface of the host takes. Where it cannot tell it says yes.
func exists(name string) bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return true
	}
	return !errors.Is(unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req), unix.ENODEV)
}

// foreign is the error of a name that only Berth gives, and that something else has; nil if it is mine.
func foreign(name string, mine bool) error {
	if mine {
		return nil
	}
	return fmt.Errorf("interface %s is in use by something else, which Berth has not made", name)
}

func (n *nicSpec) createVeth(host string, parent netlink.Link) (string, error) {
	guest := n.name("berth", 0)
	if mine, err := n.removeMine(guest, true); err != nil || !mine {
		return "", errors.Join(err, foreign(guest, mine))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = host, n.mtu
	// One queue, as a pair uses: not told, the kernel makes one for each CPU and takes all but one away again, holding the
	// lock of all interfaces while it waits for every CPU. dnsmasq needs that lock for each answer.
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	// A high address, so that a bridge without one of its own does not take it from here.
	attrs.HardwareAddr = append(net.HardwareAddr{0xfe}, n.hwaddr[1:]...)
	if parent != nil {
		attrs.MasterIndex = parent.Attrs().Index
	}
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: guest, PeerHardwareAddr: n.hwaddr, PeerMTU: uint32(n.mtu)}
	if err := netlink.LinkAdd(veth); err != nil {
		return "", fmt.Errorf("create veth pair %s: %w", host, err)
	}
	if err := startCreated.Hit(); err != nil {
		return "", err
	}
	var link netlink.Link = veth // knows its index by now
	if err := netlink.LinkSetAlias(link, n.alias()); err != nil {
		return "", fmt.Errorf("mark %s: %w", host, err)
	}
	if n.target.kind == bridged {
		if err := disableIPv6(host); err != nil {
			return "", err
		}
		if config.IsTrue(n.cfg["security.port_isolation"]) {
			if err := netlink.LinkSetIsolated(link, true); err != nil {
				return "", fmt.Errorf("isolate port %s: %w", host, err)
			}
		}
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return "", fmt.Errorf("bring up %s: %w", host, err)
	}
	if err := startUp.Hit(); err != nil {
		return "", err
	}
	if limit(n.cfg, "limits.ingress")+limit(n.cfg, "limits.egress") > 0 {
		link.Attrs().Alias = n.alias()
		if err := setLimits(link, n.cfg); err != nil {
			return "", err
		}
	}
	if !hasRoutes(n.cfg) {
		return guest, nil
	}
	return guest, n.syncRoutes(link)
}

// disableIPv6 keeps the host from having an address on the port of a bridge.
func disableIPv6(name string) error {
	err := os.WriteFile(filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6"), []byte("1"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the kernel has no IPv6
	}
	return err
}

func (n *nicSpec) createMacvlan(parent netlink.Link) (string, error) {
	guest := n.name("mac", 0)
	if mine, err := n.removeMine(guest, true); err != nil || !mine {
		return "", errors.Join(err, foreign(guest, mine))
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.ParentIndex, attrs.HardwareAddr = guest, n.mtu, parent.Attrs().Index, n.hwaddr
	link := &netlink.Macvlan{LinkAttrs: attrs, Mode: netlink.MACVLAN_MODE_BRIDGE}
	if err := netlink.LinkAdd(link); err != nil {
		return "", fmt.Errorf("create macvlan on %s: %w", n.target.parent, err)
	}
	if err := startCreated.Hit(); err != nil {
		return "", err
	}
	// Inside, where it has another name, it is known by this.
	if err := netlink.LinkSetAlias(link, n.alias()); err != nil {
		return "", fmt.Errorf("mark %s: %w", guest, err)
	}
	return guest, n.record(macvlanRecord{Index: link.Attrs().Index})
}

// destroy removes what the device has on the host; what is gone already is no error.
func (n *nicSpec) destroy(host string) error {
	var errs []error
	for _, name := range []string{host, n.cfg["host_name"]} {
		if name != "" {
			_, err := n.removeMine(name, false)
			errs = append(errs, err)
		}
	}
	for salt := range maxSalt {
		name := n.name("veth", salt)
		if !exists(name) {
			break
		}
		_, err := n.removeMine(name, true)
		errs = append(errs, err)
	}
	for _, prefix := range []string{"berth", "mac"} {
		mine, err := n.removeMine(n.name(prefix, 0), true)
		errs = append(errs, err, foreign(n.name(prefix, 0), mine || err != nil))
	}
	errs = append(errs, removeIfb(n.owner), n.routes.Remove(), n.dropRecord())
	return errors.Join(errs...)
}

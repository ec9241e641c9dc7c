package nic

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// setLimits limits the traffic over a host's end: what it sends is what the instance receives. It replaces
// whatever limits were there.
func setLimits(host netlink.Link, cfg device.Config) error {
	ingress, egress := limit(cfg, "limits.ingress"), limit(cfg, "limits.egress")
	if err := clearLimits(host); err != nil {
		return err
	}
	if ingress > 0 {
		if err := shape(host, ingress); err != nil {
			return fmt.Errorf("limits.ingress of %s: %w", host.Attrs().Name, err)
		}
	}
	if egress > 0 {
		if err := police(host, egress); err != nil {
			return fmt.Errorf("limits.egress of %s: %w", host.Attrs().Name, err)
		}
	}
	return nil
}

// limit is a limit in bits a second; 0: none.
func limit(cfg device.Config, key string) uint64 {
	value := cfg[key]
	if v := cfg["limits.max"]; v != "" {
		value = v
	}
	n, err := config.ParseBitSize(value)
	if err != nil || n < 0 {
		return 0
	}
	return uint64(n)
}

func clearLimits(host netlink.Link) error {
	qdiscs, err := netlink.QdiscList(host)
	if err != nil {
		return fmt.Errorf("limits of %s: %w", host.Attrs().Name, err)
	}
	for _, q := range qdiscs {
		if q.Type() != "htb" && q.Type() != "ingress" {
			continue
		}
		if err := netlink.QdiscDel(q); err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("limits of %s: %w", host.Attrs().Name, err)
		}
	}
	return removeIfb(owner(host))
}

// shape limits what an interface sends.
func shape(link netlink.Link, bits uint64) error {
	index := link.Attrs().Index
	htb := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT})
	htb.Defcls = 0x10
	if err := netlink.QdiscReplace(htb); err != nil {
		return err
	}
	return netlink.ClassReplace(netlink.NewHtbClass(
		netlink.ClassAttrs{LinkIndex: index, Parent: netlink.MakeHandle(1, 0), Handle: netlink.MakeHandle(1, 0x10)},
		netlink.HtbClassAttrs{Rate: bits, Ceil: bits}))
}

// police limits what an interface receives: by dropping, or where the kernel lacks that, by sending it
// through an intermediate device that is shaped.
func police(link netlink.Link, bits uint64) error {
	index := link.Attrs().Index
	err := netlink.QdiscAdd(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_INGRESS}})
	if err != nil {
		return err
	}
	action := netlink.NewPoliceAction()
	action.Rate = uint32(min(bits/8, 1<<32-1))
	action.Burst = uint32(max(bits/8/50, 64<<10)) // 20 ms, and no less than a large packet
	action.Mtu = 64 << 10
	action.ExceedAction = netlink.TC_POLICE_SHOT
	if err = addFilter(index, action); err == nil {
		return nil
	}
	if !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return err
	}
	ifb, err := createIfb(owner(link))
	if err != nil {
		return fmt.Errorf("the kernel has neither policing nor ifb: %w", err)
	}
	if err := shape(ifb, bits); err != nil {
		return err
	}
	return addFilter(index, netlink.NewMirredAction(ifb.Attrs().Index))
}

// addFilter has an action done on everything that an interface receives.
func addFilter(index int, action netlink.Action) error {
	return netlink.FilterAdd(&netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: netlink.MakeHandle(0xffff, 0), Priority: 1, Protocol: unix.ETH_P_ALL},
		Actions:     []netlink.Action{action},
	})
}

func createIfb(owner string) (netlink.Link, error) {
	n := nicSpec{owner: owner}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.name("ifb", 0)
	if err := netlink.LinkAdd(&netlink.Ifb{LinkAttrs: attrs}); err != nil {
		return nil, err
	}
	link, err := netlink.LinkByName(attrs.Name)
	if err != nil {
		return nil, err
	}
	if err := netlink.LinkSetAlias(link, n.alias()); err != nil {
		return nil, err
	}
	return link, netlink.LinkSetUp(link)
}

func removeIfb(owner string) error {
	if owner == "" {
		return nil
	}
	n := nicSpec{owner: owner}
	_, err := n.removeMine(n.name("ifb", 0), true)
	return err
}

// owner reads whose an interface is from its alias.
func owner(link netlink.Link) string {
	const prefix = "berth:"
	if a := link.Attrs().Alias; len(a) > len(prefix) && a[:len(prefix)] == prefix {
		return a[len(prefix):]
	}
	return ""
}

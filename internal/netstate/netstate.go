// Package netstate reads addresses and counters of network interfaces, of the host and of a process's network
// namespace, straight from netlink.
package netstate

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// retries bounds how often a dump that changed under the reader is read again.
const retries = 3

// maxLinks and maxAddresses bound what is read of a namespace: a guest makes as many of either as it likes.
const maxLinks, maxAddresses = 512, 4096

// State returns the interfaces of a network namespace, by name: the first maxLinks, with the first maxAddresses addresses of all. HostName is filled for a veth whose other end is in the
// caller's namespace.
func State(ns *os.File) (map[string]api.InstanceStateNetwork, error) {
	c, err := acquireConn()
	if err != nil {
		return nil, err
	}
	state, err := c.state(int(ns.Fd()))
	if err != nil {
		c.close()
		return nil, fmt.Errorf("state of a network namespace: %w", err)
	}
	releaseConn(c)
	return state, nil
}

// state asks from here, by the number of the namespace: nobody has to enter it.
func (c *conn) state(ns int) (map[string]api.InstanceStateNetwork, error) {
	namespace, err := c.identify(ns)
	if err != nil {
		return nil, err
	}
	var links []link
	err = c.read(func() error {
		links = links[:0]
		return c.links(namespace, func(l link) error {
			if len(links) == maxLinks {
				return errEnough
			}
			links = append(links, l)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	addresses := make(map[int32][]api.InstanceStateNetworkAddress, len(links)) // by the index of their interface
	for _, l := range links {
		addresses[l.index] = []api.InstanceStateNetworkAddress{}
	}
	err = c.read(func() error {
		for index := range addresses {
			addresses[index] = addresses[index][:0]
		}
		n := 0
		return c.addresses(namespace, func(a address) error {
			if n++; n > maxAddresses {
				return errEnough
			}
			if list, ok := addresses[a.index]; ok {
				addresses[a.index] = append(list, a.shown())
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	state := make(map[string]api.InstanceStateNetwork, len(links))
	for _, l := range links {
		one := l.shown()
		one.Addresses = addresses[l.index]
		if one.HostName, err = c.hostEnd(namespace, l); err != nil {
			return nil, err
		}
		state[l.name] = one
	}
	return state, nil
}

// read repeats a dump that the kernel says was interrupted by a change, and takes one that was given up for the whole.
func (c *conn) read(dump func() error) error {
	for range retries {
		switch err := dump(); {
		case errors.Is(err, errEnough):
			return c.renew()
		case !errors.Is(err, errInterrupted):
			return err
		}
	}
	return nil // the last dump is as good as any: what it misses has changed just now
}

// hostEnd is the name of the other end of a veth, which is in a namespace, if that is in the caller's. A guest chooses indexes as it likes, those of
// the ends of other guests' among them: the end on the host must itself lead to this namespace.
func (c *conn) hostEnd(namespace int32, l link) (string, error) {
	if l.kind != "veth" || l.peer == 0 || l.peerNS < 0 {
		return "", nil
	}
	other, ok, err := c.hostLink(l.peer)
	if err != nil || !ok || other.kind != "veth" || other.peer != l.index || other.peerNS != namespace {
		return "", err
	}
	return other.name, nil
}

// shown is the interface as the API gives it, without its addresses.
func (l *link) shown() api.InstanceStateNetwork {
	one := api.InstanceStateNetwork{
		Hwaddr: l.hardware.String(), Mtu: int(l.mtu), State: upDown(l.flags&unix.IFF_UP != 0), Counters: l.counters,
		Type: typeOf(l.flags&unix.IFF_LOOPBACK != 0, l.flags&unix.IFF_BROADCAST != 0, l.flags&unix.IFF_POINTOPOINT != 0),
	}
	if one.Type == "loopback" {
		one.Hwaddr = ""
	}
	return one
}

func (a *address) shown() api.InstanceStateNetworkAddress {
	return api.InstanceStateNetworkAddress{
		Family: family(a.ip), Address: a.ip.String(), Netmask: strconv.Itoa(a.prefix), Scope: scope(a.ip),
	}
}

func family(ip net.IP) string {
	if ip.To4() != nil {
		return "inet"
	}
	return "inet6"
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

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func typeOf(loopback, broadcast, pointToPoint bool) string {
	switch {
	case loopback:
		return "loopback"
	case broadcast:
		return "broadcast"
	case pointToPoint:
		return "point-to-point"
	default:
		return "unknown"
	}
}

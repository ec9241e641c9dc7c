package netstate

import (
	"bytes"
	"encoding/binary"
	"net"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// link is what a state needs of an interface (rtnetlink(7), linux/if_link.h).
type link struct {
	index    int32
	flags    uint32
	name     string
	kind     string // "veth", "bridge", …; empty for hardware and loopback
	hardware net.HardwareAddr
	mtu      uint32
	peer     int32 // index of the interface that it hangs on, maybe in another namespace
	peerNS   int32 // the reader's number of the namespace that it is in; negative: the interface's own
	counters api.NetworkCounters
}

// parseLink decodes struct ifinfomsg and its attributes.
func parseLink(payload []byte) (link, bool) {
	if len(payload) < unix.SizeofIfInfomsg {
		return link{}, false
	}
	l := link{peerNS: -1, index: int32(binary.NativeEndian.Uint32(payload[4:])), flags: binary.NativeEndian.Uint32(payload[8:])}
	attributes(payload[unix.SizeofIfInfomsg:], func(attr uint16, value []byte) {
		switch attr {
		case unix.IFLA_IFNAME:
			l.name = text(value)
		case unix.IFLA_ADDRESS:
			if len(bytes.Trim(value, "\x00")) > 0 { // loopback and tunnels have none, which reads as zeros
				l.hardware = bytes.Clone(value)
			}
		case unix.IFLA_MTU:
			l.mtu = number32(value)
		case unix.IFLA_LINK:
			l.peer = int32(number32(value))
		case unix.IFLA_LINK_NETNSID:
			l.peerNS = int32(number32(value))
		case unix.IFLA_LINKINFO:
			attributes(value, func(attr uint16, value []byte) {
				if attr == unix.IFLA_INFO_KIND {
					l.kind = text(value)
				}
			})
		case unix.IFLA_STATS64:
			l.counters = parseCounters(value)
		}
	})
	return l, l.name != ""
}

// parseCounters decodes the beginning of struct rtnl_link_stats64.
func parseCounters(value []byte) api.NetworkCounters {
	if len(value) < 8*8 {
		return api.NetworkCounters{}
	}
	at := func(n int) int64 { return int64(binary.NativeEndian.Uint64(value[8*n:])) }
	return api.NetworkCounters{
		PacketsReceived: at(0), PacketsSent: at(1),
		BytesReceived: at(2), BytesSent: at(3),
		ErrorsReceived: at(4), ErrorsSent: at(5),
		PacketsDroppedInbound: at(6), PacketsDroppedOutbound: at(7),
	}
}

// address is one address of an interface.
type address struct {
	index  int32
	ip     net.IP
	prefix int
}

// parseAddress decodes struct ifaddrmsg and its attributes. IFA_LOCAL is the address and IFA_ADDRESS, where it differs,
// that of the other end, to which the prefix belongs; without IFA_LOCAL, as with IPv6, IFA_ADDRESS is the address.
func parseAddress(payload []byte) (address, bool) {
	if len(payload) < unix.SizeofIfAddrmsg {
		return address{}, false
	}
	a := address{prefix: int(payload[1]), index: int32(binary.NativeEndian.Uint32(payload[4:]))}
	var local, remote []byte
	attributes(payload[unix.SizeofIfAddrmsg:], func(attr uint16, value []byte) {
		switch attr {
		case unix.IFA_LOCAL:
			local = value
		case unix.IFA_ADDRESS:
			remote = value
		}
	})
	if local == nil {
		local = remote
	} else if payload[0] != unix.AF_INET || !bytes.Equal(local, remote) {
		a.prefix = 8 * len(local)
	}
	a.ip = bytes.Clone(local)
	return a, len(local) == net.IPv4len || len(local) == net.IPv6len
}

func number32(value []byte) uint32 {
	if len(value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(value)
}

// text is a string that ends in a zero byte.
func text(value []byte) string {
	value, _, _ = bytes.Cut(value, []byte{0})
	return string(value)
}

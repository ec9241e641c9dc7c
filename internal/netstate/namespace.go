package netstate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// identify returns the number by which the caller's namespace knows the one of a descriptor, which it is given where it
// has none. It goes with the namespace.
func (c *conn) identify(ns int) (int32, error) {
	id, err := c.identity(ns)
	if err != nil || id >= 0 {
		return id, err
	}
	c.begin(unix.RTM_NEWNSID, unix.NLM_F_ACK, make([]byte, unix.SizeofRtGenmsg+3)...)
	c.add(unix.NETNSA_NSID, unix.NETNSA_NSID_NOT_ASSIGNED) // any
	c.add(unix.NETNSA_FD, int32(ns))
	if err := c.ask(func(uint16, []byte) error { return nil }); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	if id, err = c.identity(ns); err == nil && id < 0 {
		err = errors.New("the network namespace got no number")
	}
	return id, err
}

func (c *conn) identity(ns int) (int32, error) {
	id := int32(unix.NETNSA_NSID_NOT_ASSIGNED)
	c.begin(unix.RTM_GETNSID, 0, make([]byte, unix.SizeofRtGenmsg+3)...)
	c.add(unix.NETNSA_FD, int32(ns))
	err := c.ask(func(_ uint16, payload []byte) error {
		if len(payload) < unix.SizeofRtGenmsg+3 {
			return nil
		}
		attributes(payload[unix.SizeofRtGenmsg+3:], func(attr uint16, value []byte) {
			if attr == unix.NETNSA_NSID && len(value) == 4 {
				id = int32(binary.NativeEndian.Uint32(value))
			}
		})
		return nil
	})
	return id, err
}

// links calls each with the interfaces of a namespace, until it fails.
func (c *conn) links(namespace int32, each func(link) error) error {
	c.begin(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg)...)
	c.add(unix.IFLA_TARGET_NETNSID, namespace)
	return c.ask(func(kind uint16, payload []byte) error {
		if l, ok := parseLink(payload); ok && kind == unix.RTM_NEWLINK {
			return each(l)
		}
		return nil
	})
}

// addresses calls each with the addresses of a namespace's interfaces, until it fails.
func (c *conn) addresses(namespace int32, each func(address) error) error {
	c.begin(unix.RTM_GETADDR, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfAddrmsg)...)
	c.add(unix.IFA_TARGET_NETNSID, namespace)
	return c.ask(func(kind uint16, payload []byte) error {
		if a, ok := parseAddress(payload); ok && kind == unix.RTM_NEWADDR {
			return each(a)
		}
		return nil
	})
}

// hostLink returns one interface of the caller's namespace; false if there is none of that index.
func (c *conn) hostLink(index int32) (link, bool, error) {
	var header [unix.SizeofIfInfomsg]byte
	binary.NativeEndian.PutUint32(header[4:], uint32(index))
	c.begin(unix.RTM_GETLINK, 0, header[:]...)
	var found link
	ok := false
	err := c.ask(func(_ uint16, payload []byte) error { found, ok = parseLink(payload); return nil })
	if errors.Is(err, unix.ENODEV) {
		return link{}, false, nil
	}
	if err != nil {
		return link{}, false, fmt.Errorf("network interface %d: %w", index, err)
	}
	return found, ok, nil
}

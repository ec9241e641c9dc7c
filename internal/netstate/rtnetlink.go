package netstate

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// conn speaks rtnetlink. It is written out because a list of all instances with their state asks for the interfaces of
// each: the library makes an object of every attribute and enters every namespace, which took half the list's time.
type conn struct {
	fd  int
	seq uint32
	out []byte // the request under way
	in  []byte // the datagram that was received last
}

// received is the size of the largest datagram that the kernel sends: it fits them to what it is offered.
const received = 16 << 10

// patience bounds the wait for an answer, in seconds. The kernel has it ready when the request has been sent.
const patience = 5

// idle keeps a few sockets for the next requests.
var idle = make(chan *conn, 4)

func acquireConn() (*conn, error) {
	select {
	case c := <-idle:
		return c, nil
	default:
		return dial()
	}
}

// releaseConn takes a socket whose answers have all been read; others are to be closed.
func releaseConn(c *conn) {
	select {
	case idle <- c:
	default:
		c.close()
	}
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	// Only strict requests may name another namespace.
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_GET_STRICT_CHK, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: patience}),
		unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}))
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return &conn{fd: fd, in: make([]byte, received)}, nil
}

func (c *conn) close() { _ = unix.Close(c.fd) }

// renew has another socket take the place of one that is of no use any more.
func (c *conn) renew() error {
	other, err := dial()
	if err != nil {
		return err
	}
	c.close()
	c.fd, c.seq = other.fd, 0
	return nil
}

// errInterrupted says that what was dumped changed meanwhile.
var errInterrupted = errors.New("dump was interrupted by a change")

// begin starts a request with a fixed header of its type; add gives it attributes.
func (c *conn) begin(kind, flags uint16, header ...byte) {
	c.seq++
	c.out = binary.NativeEndian.AppendUint32(c.out[:0], 0) // the length, known when it is sent
	c.out = binary.NativeEndian.AppendUint16(c.out, kind)
	c.out = binary.NativeEndian.AppendUint16(c.out, unix.NLM_F_REQUEST|flags)
	c.out = binary.NativeEndian.AppendUint32(c.out, c.seq)
	c.out = binary.NativeEndian.AppendUint32(c.out, 0)
	c.out = append(c.out, header...)
}

// add appends an attribute that is a number of 32 bits.
func (c *conn) add(attr uint16, value int32) {
	c.out = binary.NativeEndian.AppendUint16(c.out, unix.SizeofRtAttr+4)
	c.out = binary.NativeEndian.AppendUint16(c.out, attr)
	c.out = binary.NativeEndian.AppendUint32(c.out, uint32(value))
}

// errEnough says that no more of a dump is wanted. The socket is not to be used again: the kernel is still at it.
var errEnough = errors.New("enough")

// ask sends the request and calls each with every message of its answer, headers of netlink taken off. The bytes are
// valid during the call only. An answer ends with its first message, or, to a dump, with the message that says so, or
// with the error that each returns.
func (c *conn) ask(each func(kind uint16, payload []byte) error) error {
	binary.NativeEndian.PutUint32(c.out, uint32(len(c.out)))
	dump := binary.NativeEndian.Uint16(c.out[6:])&unix.NLM_F_DUMP == unix.NLM_F_DUMP
	if err := c.send(); err != nil {
		return fmt.Errorf("netlink: %w", err)
	}
	interrupted := false
	for {
		data, err := c.receive()
		if err != nil {
			return fmt.Errorf("netlink: %w", err)
		}
		for len(data) >= unix.SizeofNlMsghdr {
			length := int(binary.NativeEndian.Uint32(data))
			if length < unix.SizeofNlMsghdr || length > len(data) {
				return errors.New("netlink: malformed message")
			}
			kind, flags := binary.NativeEndian.Uint16(data[4:]), binary.NativeEndian.Uint16(data[6:])
			payload, ours := data[unix.SizeofNlMsghdr:length], binary.NativeEndian.Uint32(data[8:]) == c.seq
			data = data[min(align(length), len(data)):]
			switch {
			case !ours: // left over from a request that was given up
				continue
			case kind == unix.NLMSG_ERROR || kind == unix.NLMSG_DONE:
				return ending(payload, interrupted || flags&unix.NLM_F_DUMP_INTR != 0)
			}
			interrupted = interrupted || flags&unix.NLM_F_DUMP_INTR != 0
			if err := each(kind, payload); err != nil || !dump {
				return err
			}
		}
	}
}

// ending is the error that the last message of an answer holds.
func ending(payload []byte, interrupted bool) error {
	if len(payload) >= 4 {
		if code := int32(binary.NativeEndian.Uint32(payload)); code < 0 {
			return unix.Errno(-code)
		}
	}
	if interrupted {
		return errInterrupted
	}
	return nil
}

func (c *conn) send() error {
	for {
		err := unix.Sendto(c.fd, c.out, 0, &kernel)
		if err != unix.EINTR {
			return err
		}
	}
}

var kernel = unix.SockaddrNetlink{Family: unix.AF_NETLINK}

func (c *conn) receive() ([]byte, error) {
	for {
		n, _, err := unix.Recvfrom(c.fd, c.in, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case n > len(c.in):
			return nil, errors.New("datagram is longer than the kernel was offered")
		}
		return c.in[:n], nil
	}
}

// attributeType takes the two flags off the type of an attribute (linux/netlink.h, NLA_TYPE_MASK).
const attributeType = 0x3fff

// attributes calls each with the attributes of a message, without the flags in their type.
func attributes(data []byte, each func(attr uint16, value []byte)) {
	for len(data) >= unix.SizeofRtAttr {
		length := int(binary.NativeEndian.Uint16(data))
		if length < unix.SizeofRtAttr || length > len(data) {
			return
		}
		each(binary.NativeEndian.Uint16(data[2:])&attributeType, data[unix.SizeofRtAttr:length])
		data = data[min(align(length), len(data)):]
	}
}

// align rounds up to where the next message or attribute begins.
func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

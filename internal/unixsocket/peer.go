package unixsocket

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Peer is who is at the other end of a connection, as the kernel noted when it was made.
func Peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var result error
	if err := raw.Control(func(fd uintptr) { cred, result = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); err != nil {
		return nil, err
	}
	return cred, result
}

// Passes tells whether an accept that has failed may succeed later: something has run out, or the peer has gone.
func Passes(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ECONNABORTED)
}

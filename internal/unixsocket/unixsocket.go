// Package unixsocket opens the sockets that daemons on this machine answer on.
package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
)

// Passed returns the sockets that a service manager opened for this very process. The variables that say so are taken out of the
// environment: they are not for the programs that the daemon starts.
func Passed() ([]net.Listener, error) {
	list, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from the service manager: %w", err)
	}
	for i, l := range list {
		if l == nil {
			return nil, fmt.Errorf("socket %d from the service manager is none that listens", i)
		}
	}
	return list, nil
}

// Listen opens a socket for root and the members of a group, if one is named, in the place of one that a daemon left behind which is no more.
// It fails where somebody answers on it; of two who come at once one replaces the other.
func Listen(path, group string) (net.Listener, error) {
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return nil, fmt.Errorf("%s: another daemon answers on this socket", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	gid := -1
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return nil, fmt.Errorf("group of the socket: %w", err)
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return nil, fmt.Errorf("group of the socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	if err := errors.Join(os.Chown(path, os.Getuid(), gid), os.Chmod(path, 0o660)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open the socket: %w", err)
	}
	return l, nil
}

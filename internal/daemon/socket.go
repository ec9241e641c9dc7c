package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"
)

// firstPassedFD is where a service manager puts the sockets it passes (sd_listen_fds).
const firstPassedFD = 3

// passedSockets returns the sockets that a service manager opened for this very process.
func passedSockets() ([]net.Listener, error) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	// The variables are for this process only, not for those it starts.
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	count, err := strconv.Atoi(n)
	if err != nil || count < 1 || count > 16 {
		return nil, nil
	}
	var list []net.Listener
	for fd := firstPassedFD; fd < firstPassedFD+count; fd++ {
		f := os.NewFile(uintptr(fd), "socket-"+strconv.Itoa(fd))
		l, err := net.FileListener(f)
		_ = f.Close()
		if err != nil {
			return nil, fmt.Errorf("socket %d from the service manager: %w", fd, err)
		}
		list = append(list, l)
	}
	return list, nil
}

// listenUnix opens the daemon's socket, in the place of one that a daemon left behind which is no more. The store's
// lock, taken before, tells that there is no other daemon.
func listenUnix(root, group string) (net.Listener, error) {
	path := filepath.Join(root, "unix.socket")
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
		return nil, fmt.Errorf("open the daemon's socket: %w", err)
	}
	if err := errors.Join(os.Chown(path, os.Getuid(), gid), os.Chmod(path, 0o660)); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("open the daemon's socket: %w", err)
	}
	return l, nil
}

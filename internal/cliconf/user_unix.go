//go:build unix

package cliconf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// userSocket finds what those use who may not use the daemon's socket: a socket of its own beside it, where each has one project.
func userSocket(socket string) (path, project string) {
	if os.Getuid() == 0 || !errors.Is(unix.Access(socket, unix.W_OK), unix.EACCES) {
		return "", "" // they may, or there is none
	}
	path = filepath.Join(filepath.Dir(socket), "unix.socket.user")
	if unix.Access(path, unix.W_OK) != nil {
		return "", ""
	}
	return path, fmt.Sprintf("user-%d", os.Getuid())
}

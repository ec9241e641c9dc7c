package lxc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInheritedDescriptorsStayOutOfCommands: what the helper was started with, because whoever started it had not kept it back, was
// open in each command inside.
func TestInheritedDescriptorsStayOutOfCommands(t *testing.T) {
	h := newHost(t)
	fd, err := unix.Open(filepath.Join(h.root, "secret"), unix.O_CREAT|unix.O_RDWR, 0o600) // without O_CLOEXEC
	h.do(err)
	file := os.NewFile(uintptr(fd), "secret")
	defer file.Close()
	d := h.driver()
	h.start(d, h.spec("c1"))
	for _, fds := range []string{"/proc/self/fd", "/proc/1/fd"} {
		if out := h.sh(d, "c1", "ls -l "+fds); strings.Contains(out, "secret") || !strings.Contains(out, " 0 ->") {
			t.Errorf("%s:\n%s", fds, out)
		}
	}
}

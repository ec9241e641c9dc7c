package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// TestInheritedDescriptorsStayOutOfCommands: what was open where somebody started the daemon was open in each command inside, and in the
// programs that the daemon starts.
func TestInheritedDescriptorsStayOutOfCommands(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret-of-the-host")
	fd, err := unix.Open(secret, unix.O_CREAT|unix.O_RDWR, 0o600) // for every program that this one starts
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "true")
	for _, command := range []string{"ls -l /proc/self/fd", "ls -l /proc/1/fd"} {
		if out := d.Berth("exec", "c1", "--", "sh", "-c", command); strings.Contains(out, "secret-of-the-host") || !strings.Contains(out, " 0 ->") {
			t.Errorf("%s:\n%s", command, out)
		}
	}
	helpers := childrenOf(d.PID(), "berth-lxc")
	if len(helpers) == 0 {
		t.Error("no helper")
	}
	for _, pid := range helpers {
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, name := range open {
			if target, _ := os.Readlink(name); target == secret {
				t.Errorf("%s of the helper is %s", name, target)
			}
		}
	}
}

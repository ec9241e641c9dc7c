// Package boot holds the tests that boot the lab's guest and put it down again, with systemd as its process 1. They run on the host, by the
// image that `make lab` builds.
package boot

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
	"github.com/berthd/berth/test/lab/machine"
)

// limit bounds a boot, a shutdown and each command: the guest's processor is emulated, on a host that may be busy.
const limit = 10 * time.Minute

// guest is a machine of this test's own.
type guest struct {
	*machine.Machine
	t *testing.T
}

// boot boots a guest with the built product installed, as `make install` does it, and its units enabled, as README.md says.
func boot(t *testing.T) *guest {
	t.Helper()
	if os.Getenv("BERTH_LAB") != "" {
		t.Skip("in the lab's guest: this test boots one of its own, from the host")
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skip("QEMU is not installed: scripts/deps.sh lab")
	}
	config, err := machine.Environment(harness.Top())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(config.Dir, "base.qcow2")); err != nil {
		t.Skip("the lab's image is not built: make lab")
	}
	if _, err := machine.Sweep(config); err != nil { // of what a killed run left
		t.Fatal(err)
	}
	config.Init = "/lib/systemd/systemd"
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	m, err := machine.Start(ctx, config, "boot-"+strconv.Itoa(os.Getpid()), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	g := &guest{m, t}
	g.prepare()
	// The programs are there: "make build" has made them, as for every test of them.
	harness.Run(t, nil, "make", "-s", "-C", harness.Top(), "--old-file=build", "install", "DESTDIR="+m.Share()+"/product")
	g.sh(`cp -a --no-preserve=ownership /lab/product/. / && groupadd --system berth && systemctl daemon-reload &&
		systemctl enable --now berth.socket berth.service berth-instances.service`)
	return g
}

func (g *guest) prepare() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), limit)
	defer cancel()
	if err := g.Prepare(ctx); err != nil {
		g.t.Fatal(err)
	}
}

// sh runs a script in the guest and returns what it prints, without the last line's end.
func (g *guest) sh(script string) string {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), limit)
	defer cancel()
	var out, errs strings.Builder
	status, err := g.Run(ctx, script, machine.Streams{Stdout: &out, Stderr: &errs})
	if err != nil || status != 0 {
		g.t.Fatalf("%s: status %d, %v\n%s%s", script, status, err, &out, &errs)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

// again powers the guest off, as a user does, and boots it.
func (g *guest) again() {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*limit)
	defer cancel()
	_, err := g.Run(ctx, "systemctl --no-block poweroff", machine.Streams{}) // it may be off before it can tell the status
	if off := g.AwaitOff(ctx); off != nil {
		g.t.Fatal(errors.Join(err, off))
	}
	if err := g.Boot(ctx); err != nil {
		g.t.Fatal(err)
	}
	g.prepare()
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q instead of %q", what, got, want)
	}
}

// slowInit is the first program of a container that needs a while to put away what it has when it is told to stop, as a database does. It
// does not take for that what systemd sends to all that is left in the end.
const slowInit = `#!/bin/sh
trap 'echo killed > /root/stop' TERM
trap 'sleep 4; echo stopped > /root/stop; sync; exit' PWR
[ ! -e /root/stop ] || mv /root/stop /root/before
echo runs > /root/stop
while :; do sleep 1000 & wait $!; done
`

// TestHostShutdown powers a host off on which containers run, and boots it: they were told, had their time, and those that ran run again.
func TestHostShutdown(t *testing.T) {
	g := boot(t)
	g.sh(`berth storage create default dir && berth profile device add default root disk path=/ pool=default`)
	harness.Run(t, nil, "cp", harness.Busybox(t), g.Share()+"/busybox.tar.gz")
	g.sh("berth image import /lab/busybox.tar.gz --alias bb")
	g.sh("berth init bb ran && berth init bb by-hand -c boot.autostart=false && berth init bb stopped")
	if err := os.WriteFile(g.Share()+"/init", []byte(slowInit), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ran", "by-hand"} {
		g.sh("berth file delete " + name + "/sbin/init && berth file push --mode 755 /lab/init " + name + "/sbin/init && berth start " + name +
			" && until berth file pull " + name + "/root/stop - | grep -q runs; do :; done")
	}
	want(t, "before", g.states(), "by-hand,RUNNING ran,RUNNING stopped,STOPPED")

	g.again()
	want(t, "the last words of what runs again", g.sh("until berth file pull ran/root/before - 2> /dev/null; do :; done"), "stopped")
	want(t, "after", g.states(), "by-hand,STOPPED ran,RUNNING stopped,STOPPED")
	want(t, "the last words of what is not started again", g.sh("berth file pull by-hand/root/stop -"), "stopped")
}

// states are all instances, by name, with their state.
func (g *guest) states() string {
	g.t.Helper()
	return strings.Join(strings.Fields(g.sh("berth list --format csv --columns ns")), " ")
}

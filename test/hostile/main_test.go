// Package hostile does from inside a container, as root, what a guest must not get away with, and says what stopped it.
//
// The program of these tests is also the guest's: it is copied into the container and does there, by bare system calls, what it is
// asked for (attack_*_test.go). The tests look at what came of it, inside and on the host, and print a line for each attempt.
package hostile

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "attack" {
		attacks[os.Args[2]](os.Args[3:])
		os.Exit(0)
	}
	if slices.Contains(os.Args, script) { // run in the place of a dynamic linker
		asInterpreter()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// program is where the guest finds this program.
const program = "/attack"

// guest is a container with an attacker in it.
type guest struct {
	*harness.Daemon
	t          *testing.T
	name       string
	privileged bool
}

func (g *guest) kind() string {
	if g.privileged {
		return "privileged"
	}
	return "unprivileged"
}

// maker is a container that never runs; the guests are copies of it, attacker included.
const maker = "maker"

// newDaemon is a daemon with the maker. An image of it would take longer than all else where the processor is emulated.
func newDaemon(t *testing.T) *harness.Daemon {
	t.Helper()
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", maker)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d.Berth("file", "push", "--mode", "0755", self, maker+program)
	return d
}

// eachKind runs a test with an unprivileged guest and with a privileged one. prepare sees a guest before it starts.
func eachKind(t *testing.T, prepare, test func(g *guest), config ...string) {
	t.Helper()
	d := newDaemon(t)
	t.Cleanup(func() { // the harness knows nothing of volumes
		_, _ = d.Try(harness.Program("berth"), "delete", "--force", "u1", "p1", maker)
		_, _ = d.Try(harness.Program("berth"), "storage", "volume", "delete", "default", "data")
	})
	for _, g := range []*guest{{d, t, "u1", false}, {d, t, "p1", true}} {
		t.Run(g.kind(), func(t *testing.T) {
			g.t = t
			args := []string{"copy", maker, g.name, "-c", fmt.Sprintf("security.privileged=%t", g.privileged)}
			for _, c := range config {
				args = append(args, "-c", c)
			}
			g.Berth(args...)
			if prepare != nil {
				prepare(g)
			}
			g.Berth("start", g.name)
			test(g)
			g.Berth("delete", "--force", g.name)
		})
	}
}

// attack has the guest do something and returns what came of each step: the name of an errno, "absent", or "succeeded".
func (g *guest) attack(name string, args ...string) (steps [][2]string) {
	g.t.Helper()
	command := append([]string{"exec", g.name, "--", program, "attack", name}, args...)
	out, err := g.Try(harness.Program("berth"), command...)
	if err != nil {
		g.t.Fatalf("attack %s: %v\n%s", name, err, out)
	}
	for line := range strings.Lines(out) {
		if step, outcome, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok {
			steps = append(steps, [2]string{step, outcome})
		}
	}
	if len(steps) == 0 {
		g.t.Fatalf("attack %s did nothing: %s", name, out)
	}
	return steps
}

// mustFail is attack, no step of which may succeed; by names what is to stop it.
func (g *guest) mustFail(by, name string, args ...string) {
	g.t.Helper()
	tried := 0
	for _, s := range g.attack(name, args...) {
		switch s[1] {
		case "absent":
			g.t.Logf("attempt: %s guest: %s: nothing there", g.kind(), s[0])
			continue
		case "succeeded":
			g.t.Errorf("attempt: %s guest: %s: NOT STOPPED (by %s)", g.kind(), s[0], by)
		default:
			g.stopped(s[0], s[1]+", "+by)
		}
		tried++
	}
	if tried == 0 {
		g.t.Errorf("attack %s: there was nothing to attack", name)
	}
}

// stopped prints an attempt that led nowhere.
func (g *guest) stopped(what, by string) {
	g.t.Helper()
	g.t.Logf("attempt: %s guest: %s: stopped by %s", g.kind(), what, by)
}

// needsAppArmor ends the test of a privileged guest where nothing but AppArmor would stop it: its root is root of the host.
func (g *guest) needsAppArmor() {
	g.t.Helper()
	if g.privileged && !appArmor() {
		g.Berth("delete", "--force", g.name)
		g.t.Skip("this host has no AppArmor, and nothing else stops root of a privileged guest here")
	}
}

// appArmor tells whether the host has it.
func appArmor() bool {
	raw, _ := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return strings.HasPrefix(string(raw), "Y")
}

// attacks are what the guest's program can do, by name.
var attacks = map[string]func(args []string){}

// step prints what came of one.
func step(name string, err error) {
	outcome := "succeeded"
	var errno unix.Errno
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOENT):
		outcome = "absent"
	case errors.As(err, &errno):
		outcome = unix.ErrnoName(errno)
	default:
		outcome = err.Error()
	}
	fmt.Printf("%s\t%s\n", name, outcome)
}

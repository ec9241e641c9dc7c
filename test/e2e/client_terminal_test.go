package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

const ctrlC = "\x03"

func TestCtrlCCancelsWithoutLeftovers(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, random(64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	d.Berth("file", "push", big, "c1/root/big")
	x := d.OnTerminal(harness.Program("berth"), "publish", "c1", "--alias", "p", "--compression", "xz")
	x.Until("Image pack: ")
	x.Type(ctrlC)
	if code := x.End(); code != 1 || !strings.Contains(x.Screen(), "Error: Cancelled\r\n") || strings.Contains(x.Screen(), "pipe") {
		t.Errorf("publish: %d, %q", code, x.Screen())
	}
	if got := d.Berth("image", "list", "-f", "csv", "-c", "l"); got != "bb\n" {
		t.Errorf("images: %q", got)
	}

	dir := t.TempDir()
	x = d.OnTerminal(harness.Program("berth"), "image", "build", "debian/12", "--output", filepath.Join(dir, "image.tar"))
	harness.Eventually(t, 10*time.Second, "the build begins", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) > 0
	})
	x.Type(ctrlC)
	if code := x.End(); code != 1 || !strings.Contains(x.Screen(), "Error: Cancelled\r\n") {
		t.Errorf("image build: %d, %q", code, x.Screen())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestInitOnATerminal(t *testing.T) {
	d := harness.New(t)
	x := d.OnTerminal(harness.Program("berth"), "init")
	for _, step := range []struct{ question, answer string }{
		{"Set up a storage pool? (yes/no)", "yes"}, {"pool be called?", ""}, {"Which driver", ""}, {"Set up a network", "no"},
		{"bridge or interface of the host?", "no"}, {"over the network?", "yes"}, {"On which address", "127.0.0.1"}, {"On which port", "18443"},
		{"Password by which", "sesame"}, {"Again", "sesame"}, {"other servers up to date?", ""}, {"Print the answers", ""},
	} {
		x.Until(step.question)
		x.Type(step.answer + "\n")
	}
	if code := x.End(); code != 0 {
		t.Fatalf("%d: %s", code, x.Screen())
	}
	for _, bad := range []string{"sesame", "cluster", "MAAS"} {
		if strings.Contains(x.Screen(), bad) {
			t.Errorf("%q on the screen: %s", bad, x.Screen())
		}
	}
	if got := d.Berth("profile", "device", "get", "default", "root", "pool"); got != "default\n" {
		t.Errorf("root disk on pool %q", got)
	}
	if got := d.Berth("config", "get", "core.https_address"); got != "127.0.0.1:18443\n" {
		t.Errorf("listens at %q", got)
	}
	// A second time: what is offered is still what can be taken.
	again := d.OnTerminal(harness.Program("berth"), "init")
	again.Until("Set up a storage pool? (yes/no)")
	again.Type("\n")
	again.Until("pool be called? [default=default1]: ")
	again.Type("\n")
	again.Until("Which driver")
	again.Type("\x03")
	again.End()
}

func TestAutomaticInitSaysWhatItMade(t *testing.T) {
	d := harness.New(t)
	got := d.Berth("init", "--auto")
	for _, want := range []string{"Storage pool default: set up with driver dir\n", "Network berthbr0: set up\n", "Profile default: device eth0 added\n", "Profile default: device root added\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if again := d.Berth("init", "--auto"); !strings.HasPrefix(again, "Nothing to do") {
		t.Errorf("a second time: %q", again)
	}
	d.Berth("profile", "device", "remove", "default", "eth0")
	d.Berth("network", "delete", "berthbr0")
}

func TestAShellOnATerminalFollowsItsSize(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	x := d.OnTerminal(harness.Program("berth"), "exec", "c1", "sh")
	x.Until("# ")
	x.Type("stty size\n")
	x.Until("\n24 80")
	x.Resize(33, 77)
	x.Type("while [ \"$(stty size)\" != '33 77' ]; do :; done; echo resized to $(stty size)\n")
	x.Until("resized to 33 77")
	x.Type("exit 7\n")
	if code := x.End(); code != 7 {
		t.Errorf("exit status %d: %q", code, x.Screen())
	}
	x = d.OnTerminal(harness.Program("berth"), "exec", "c1", "--", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done")
	x.Until("ready")
	x.Type(ctrlC)
	if code := x.End(); code != 5 || !strings.Contains(x.Screen(), "caught") {
		t.Errorf("Ctrl-C: %d: %q", code, x.Screen())
	}
}

// goingDown is a shutdown script that says so on the console until /go is there, and then ends the system.
const goingDown = `#!/bin/sh
while [ ! -e /go ]; do echo still going down >/dev/console; sleep 0.05; done
echo down >/dev/console
`

func TestStopWithAConsoleShowsTheShutdown(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	script := filepath.Join(t.TempDir(), "rcK")
	if err := os.WriteFile(script, []byte(goingDown), 0o755); err != nil {
		t.Fatal(err)
	}
	d.Berth("file", "push", script, "c1/etc/init.d/rcK", "--mode", "0755")
	letGo := func() { d.Berth("file", "push", script, "c1/go") }

	if got := d.BerthFails("stop", "c1", "--force", "--console"); !strings.Contains(got, "--console can't be used while forcing instance shutdown") {
		t.Errorf("a forced stop: %s", got)
	}
	if got := d.Berth("list", "-f", "csv", "-c", "ns"); got != "c1,RUNNING\n" {
		t.Fatalf("refused, and yet: %q", got)
	}

	// One that does not get there leaves the console as it leaves the instance.
	x := d.OnTerminal(harness.Program("berth"), "stop", "c1", "--console", "--timeout", "2")
	x.Until("still going down")
	if code := x.End(); code != 1 || !strings.Contains(x.Screen(), "Error: ") {
		t.Errorf("a stop that takes too long: %d, %q", code, x.Screen())
	}
	letGo()
	harness.Eventually(t, 30*time.Second, "the instance is down", func() bool { return d.Berth("list", "-f", "csv", "-c", "s") == "STOPPED\n" })
	stop := func() *harness.Terminal {
		d.Berth("file", "delete", "c1/go")
		d.Berth("start", "c1")
		x := d.OnTerminal(harness.Program("berth"), "stop", "c1", "--console")
		x.Until("still going down")
		return x
	}
	stopped := func(x *harness.Terminal) {
		t.Helper()
		if code := x.End(); code != 0 || strings.Contains(x.Screen(), "Error: ") {
			t.Errorf("%d, %q", code, x.Screen())
		}
		if got := d.Berth("list", "-f", "csv", "-c", "s"); got != "STOPPED\n" {
			t.Errorf("the stop ended, and the instance is %q", got)
		}
	}

	x = stop()
	letGo()
	stopped(x)
	if !strings.Contains(x.Screen(), "To detach from the console, press: <ctrl>+a q") {
		t.Errorf("no word on how to leave: %q", x.Screen())
	}

	// Who leaves the console waits for the end of the stop all the same.
	x = stop()
	x.Type("\x01q")
	letGo()
	stopped(x)

	d.Berth("start", "c1") // /go is there: the shutdown is quick
	if got, err := d.Try("sh", "-c", harness.Program("berth")+" stop c1 --console </dev/null 2>&1"); err != nil || strings.Contains(got, "ioctl") {
		t.Errorf("without a terminal: %v, %q", err, got)
	}
	if got := d.Berth("list", "-f", "csv", "-c", "s"); got != "STOPPED\n" {
		t.Errorf("without a terminal: %q", got)
	}
}

// random is content that does not compress.
func random(size int) []byte {
	out := make([]byte, size)
	state := uint64(1)
	for i := range out {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		out[i] = byte(state)
	}
	return out
}

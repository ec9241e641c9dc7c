package faults

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// TestARealFullDisk runs the daemon on a small file system and fills that to the last byte.
func TestARealFullDisk(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"tmpfs", "ext4"} {
		t.Run(kind, func(t *testing.T) { fullDisk(t, kind) })
	}
}

const diskSize = "32m"

// small mounts a small file system where a daemon's folders go. Clean-ups run backwards, so this one's comes after the daemon's.
func small(t *testing.T, kind string) *harness.Daemon {
	var top string
	t.Cleanup(func() {
		if top == "" {
			return
		}
		// What the daemon leaves to end may take a moment to let go.
		harness.Eventually(t, 20*time.Second, "unmount "+top, func() bool { return unix.Unmount(top, 0) == nil })
		_ = os.RemoveAll(top) // what was made before the mount
		_ = os.Remove(top + ".img")
	})
	d := harness.Prepare(t)
	at := filepath.Dir(d.Dir)
	if kind == "tmpfs" {
		harness.Run(t, nil, "mount", "-t", "tmpfs", "-o", "size="+diskSize+",mode=711", "tmpfs", at)
	} else {
		harness.Run(t, nil, "truncate", "-s", diskSize, at+".img")
		harness.Run(t, nil, "mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", at+".img")
		if out, err := exec.Command("mount", "-o", "loop", at+".img", at).CombinedOutput(); err != nil {
			_ = os.Remove(at + ".img")
			t.Skipf("no loop device for an ext4: %v %s", err, out)
		}
	}
	top = at
	for _, dir := range []string{at, d.Dir, d.Conf} {
		_ = os.Mkdir(dir, 0o711)
		if err := os.Chmod(dir, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// fill takes the last byte of the disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err == nil {
			continue
		} else if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		size /= 4
	}
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

func fullDisk(t *testing.T, kind string) {
	d := small(t, kind)
	d.Start()
	image := tiny(t, t.TempDir())
	d.Pool().Image()
	b := &bench{d: d, words: strings.NewReplacer("$TINY", image)}
	b.must(calls("launch bb c0", "delete -f c0"))
	b.before = state(d)
	d.Berth("launch", "bb", "runs")
	d.Berth("init", "bb", "c1")
	d.Berth("snapshot", "c1", "s1")
	d.Berth("init", "bb", "spare")

	ballast := filepath.Join(filepath.Dir(d.Dir), "ballast")
	fill(t, ballast)
	long := strings.Repeat("x", 100<<10)
	refused := [][]string{
		{"image", "import", "$TINY"},
		{"init", "bb", "c2"},
		{"launch", "bb", "c3"},
		{"snapshot", "c1", "s2"},
		{"copy", "c1", "c4"},
		{"publish", "c1", "--alias", "pub"},
		{"restore", "c1", "s1"},
		{"config", "set", "c1", "user.long=" + long},
		{"start", "c1"},
		strings.Fields(bridge),
	}
	for round := range 2 {
		for _, args := range refused {
			out, err := b.try(args)
			switch {
			case err == nil:
				t.Errorf("berth %.60s: succeeds on a full disk: %s", strings.Join(args, " "), out)
			case !strings.Contains(err.Error(), "no space left on device"):
				t.Errorf("berth %.60s: a full disk is told as %v", strings.Join(args, " "), err)
			}
			counts.checks.Add(1)
		}
		if d.Ended() {
			t.Fatalf("the daemon does not survive a full disk\n%s", d.Log())
		}
		b.whole("full disk")
		if names := len(instances(d)); names != 3 {
			t.Errorf("%d instances are listed, not 3: %+v", names, instances(d))
		}
		d.Berth("list")
		d.Berth("info", "c1")
		d.Berth("image", "list")
		if round == 0 { // and the whole again after a start on a full disk
			d.Berth("stop", "-f", "runs")
			d.Restart()
			d.Berth("list")
		}
	}
	counts.full.Add(1)
	if got := config(d, onec1)["user.long"]; got != "" {
		t.Errorf("a commit that failed has left %d bytes", len(got))
	}
	// Deleting is how one gets space.
	d.Berth("delete", "spare")

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	for _, args := range refused {
		if out, err := b.try(args); err != nil {
			t.Errorf("berth %.60s: with space again: %v %s\n%s", strings.Join(args, " "), err, out, d.Log())
		}
		counts.checks.Add(1)
	}
	b.must(calls("start runs", "network delete nb0", "delete -f c2", "delete -f c3", "delete c4", "image delete pub", "image delete "+tinyPrint,
		"delete -f c1", "delete -f runs"))
	b.clean(kind)
}

package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/test/harness"
)

// TestWhatRunsForAnotherStateOfTheStoreIsLeftAlone puts back a store in which the name of a running container is another instance's.
func TestWhatRunsForAnotherStateOfTheStoreIsLeftAlone(t *testing.T) {
	d := harness.New(t).Pool().Image()
	berthd := harness.Program("berthd")
	db, backup := filepath.Join(d.Dir, "database", "berth.db"), filepath.Join(t.TempDir(), "backup")
	d.Berth("init", "bb", "c1")
	mustTry(t, d, berthd, "store", "backup", db, backup)
	d.Berth("delete", "c1")
	d.Berth("launch", "bb", "c1")
	guest := initPID(d, "c1")
	group := payloadOf(t, guest)
	volume, err := filepath.Glob(filepath.Join(d.Dir, "storage-pools/*/containers/c1"))
	if err != nil || len(volume) != 1 {
		t.Fatal(volume, err)
	}
	uuid := attribute(t, volume[0])
	if got := attribute(t, group); got != uuid {
		t.Fatalf("the control group bears %q, and the instance's volume %q", got, uuid)
	}
	d.Kill()
	newer := db + ".newer"
	mustTry(t, d, berthd, "store", "backup", db, newer)
	mustTry(t, d, berthd, "store", "restore", db, backup)
	d.Start()
	wantStatus(d, "c1", "ERROR")
	for _, args := range [][]string{{"stop", "--force", "c1"}, {"start", "c1"}, {"delete", "--force", "c1"}, {"exec", "c1", "--", "true"}} {
		d.BerthFails(args...)
	}
	if err := unix.Kill(guest, 0); err != nil || attribute(t, group) != uuid {
		t.Fatalf("the other instance's process: %v", err)
	}

	// With its own store again it is as if nothing had been.
	d.Kill()
	mustTry(t, d, berthd, "store", "restore", db, newer)
	d.Start()
	wantStatus(d, "c1", "RUNNING")
	if got := initPID(d, "c1"); got != guest {
		t.Errorf("its init is %d and was %d", got, guest)
	}

	// The stranger's end frees the name.
	d.Kill()
	mustTry(t, d, berthd, "store", "restore", db, backup)
	d.Start()
	if err := unix.Kill(guest, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, 20*time.Second, "c1 is stopped", func() bool {
		return strings.TrimSpace(d.Berth("list", "c1", "--format", "csv", "--columns", "s")) == "STOPPED"
	})
	d.Kill()
	mustTry(t, d, berthd, "store", "restore", db, newer)
	d.Start()
	d.Berth("delete", "--force", "c1") // nothing of it is left
}

// payloadOf is the folder of a process's control group, in the hierarchy in which it bears an identity.
func payloadOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	host, err := cgroup.Probe()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if at := strings.LastIndex(line, "/lxc.payload."); at >= 0 {
			name, _, _ := strings.Cut(strings.TrimSpace(line[at+1:]), "/")
			return host.Group(name).Folder()
		}
	}
	t.Fatalf("no control group of %d: %s", pid, raw)
	return ""
}

func attribute(t *testing.T, path string) string {
	t.Helper()
	text := make([]byte, 64)
	n, err := unix.Getxattr(path, cgroup.Identity, text)
	if err != nil {
		t.Fatalf("%s of %s: %v", cgroup.Identity, path, err)
	}
	return string(text[:n])
}

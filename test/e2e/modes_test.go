package e2e

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berthd/berth/test/harness"
)

const nobody = 65534

// TestModesOnTheHost looks at the daemon's folder as another user of the host does: what containers have to walk through can be walked
// through, and nothing can be looked at, written to or run.
func TestModesOnTheHost(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("snapshot", "c1", "s1")
	d.Berth("storage", "volume", "create", "default", "v1")
	d.Berth("init", "bb", "c2")
	d.Berth("exec", "c1", "--", "true")
	d.Berth("storage", "volume", "snapshot", "default", "v1", "s1")
	for path, mode := range map[string]os.FileMode{
		"containers": 0o711, "snapshots": 0o700, "storage-pools": 0o711, "storage-pools/default": 0o711, "storage-pools/default/containers": 0o711,
		"database": 0o700, "images": 0o700, "logs": 0o700, "logs/c1": 0o700, "devices": 0o711, "networks": 0o711,
		"storage-pools/default/images": 0o700, "storage-pools/default/custom": 0o700, "storage-pools/default/containers-snapshots": 0o711,
		"storage-pools/default/containers-snapshots/c1": 0o700, "storage-pools/default/custom-snapshots": 0o700, "storage-pools/default/custom-snapshots/default_v1": 0o700,
		"storage-pools/default/containers/c1": 0o100, "storage-pools/default/containers/c2": 0o100, "storage-pools/default/custom/default_v1": 0o711,
		"server.key": 0o600, "server.crt": 0o644, "unix.socket": 0o660, "database/berth.db": 0o600,
	} {
		info, err := os.Stat(filepath.Join(d.Dir, path))
		if err != nil {
			t.Error(err)
			continue
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %04o, want %04o", path, info.Mode().Perm(), mode)
		}
	}
	var all []string
	err := filepath.WalkDir(d.Dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type() != fs.ModeSymlink { // links count as what they lead to
			all = append(all, path)
		}
		if errors.Is(err, fs.ErrNotExist) || strings.HasSuffix(path, "/rootfs/bin") {
			return fs.SkipDir
		}
		return err
	})
	if err != nil || len(all) < 50 {
		t.Fatalf("%d files, %v", len(all), err)
	}
	for what, allowed := range map[string][]string{"-r": {"server.crt", "devlxd", "shmounts"}, "-w": nil} {
		for _, path := range found(t, what, all) {
			if name, _ := filepath.Rel(d.Dir, path); !slices.Contains(allowed, name) {
				t.Errorf("another user of the host may %s %s", what, name)
			}
		}
	}
	d.Berth("storage", "volume", "delete", "default", "v1")
}

// found lists which of some paths another user of the host may read (-r) or write to (-w).
func found(t *testing.T, what string, paths []string) []string {
	t.Helper()
	cmd := exec.Command("sh", "-c", `while IFS= read -r path; do if [ $0 "$path" ]; then echo "$path"; fi; done`, what)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir, cmd.Stdin = "/", strings.NewReader(strings.Join(paths, "\n")+"\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}

package idmap

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

func TestShiftAndBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root := t.TempDir()
	outside := t.TempDir()
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
	file := filepath.Join(root, "a/b/file")
	do(os.WriteFile(file, nil, 0o755))
	do(os.Chown(file, 1000, 33))
	do(os.Chmod(file, 0o755|os.ModeSetuid))
	do(os.Symlink(outside, filepath.Join(root, "link")))
	caps := filepath.Join(root, "caps")
	do(os.WriteFile(caps, nil, 0o755))
	v2 := make([]byte, capsLen)
	v2[3], v2[0], v2[5] = 2, 1, 0x20
	do(unix.Setxattr(caps, capability, v2, 0))
	owner := func(path string) [2]uint32 {
		t.Helper()
		info, err := os.Lstat(path)
		do(err)
		st := info.Sys().(*syscall.Stat_t)
		return [2]uint32{st.Uid, st.Gid}
	}
	m := []spec.IDMapEntry{{UID: true, GID: true, HostID: 1000000, Count: 65536}}
	for range 2 { // the second time there is nothing to do
		do(Shift(context.Background(), root, m))
		for path, want := range map[string][2]uint32{root: {1000000, 1000000}, file: {1001000, 1000033}, filepath.Join(root, "link"): {1000000, 1000000}, outside: {0, 0}} {
			if got := owner(path); got != want {
				t.Errorf("%s belongs to %v, want %v", path, got, want)
			}
		}
	}
	if info, err := os.Stat(file); err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Error("the set-user-ID bit is gone")
	}
	do(Unshift(context.Background(), root, m))
	if got := owner(file); got != [2]uint32{1000, 33} {
		t.Error(got)
	}
	buf := make([]byte, 64)
	n, err := unix.Getxattr(caps, capability, buf)
	if err != nil || string(buf[:n]) != string(v2) {
		t.Errorf("capabilities %x, %v, want %x", buf[:n], err, v2)
	}
}

func TestSupported(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if err := Supported(t.TempDir()); err != nil {
		t.Errorf("an ordinary folder: %v", err)
	}
	if err := Supported("/proc"); err == nil {
		t.Error("/proc can be mapped")
	}
}

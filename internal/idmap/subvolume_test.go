package idmap

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/subvolume"
)

// Files in subvolumes that a guest made kept their owners: a subvolume has a device number of its own, as what is mounted has. Docker freezes some.
func TestSubvolumesWithinAreShifted(t *testing.T) {
	top := loopfs.Mount(t, "btrfs")
	root, elsewhere := filepath.Join(top, "root"), t.TempDir()
	files := []string{"file", "sub/file", "sub/frozen/file"}
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	do(os.Mkdir(root, 0o755))
	do(subvolume.FS{}.Make(filepath.Join(root, "sub")))
	do(subvolume.FS{}.Make(filepath.Join(root, "sub/frozen")))
	for _, name := range files {
		do(os.WriteFile(filepath.Join(root, name), nil, 0o644))
		do(os.Chown(filepath.Join(root, name), 33, 33))
	}
	frozen := filepath.Join(root, "sub/frozen")
	do(subvolume.FS{}.Freeze(frozen))
	do(os.WriteFile(filepath.Join(elsewhere, "file"), nil, 0o644))
	do(os.Mkdir(filepath.Join(root, "mounted"), 0o755))
	do(unix.Mount(elsewhere, filepath.Join(root, "mounted"), "", unix.MS_BIND, ""))
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(root, "mounted"), unix.MNT_DETACH) })
	owner := func(path string) int {
		t.Helper()
		var st syscall.Stat_t
		do(syscall.Lstat(path, &st))
		return int(st.Uid)
	}
	m := []spec.IDMapEntry{{UID: true, GID: true, HostID: 100000, Count: 65536}}
	for _, c := range []struct {
		walk func(context.Context, string, []spec.IDMapEntry) error
		want int
	}{{Shift, 100033}, {Unshift, 33}} {
		do(c.walk(context.Background(), root, m))
		for _, name := range files {
			if got := owner(filepath.Join(root, name)); got != c.want {
				t.Errorf("%s belongs to %d, want %d", name, got, c.want)
			}
		}
		if got := owner(filepath.Join(elsewhere, "file")); got != 0 {
			t.Errorf("what is mounted belongs to %d", got)
		}
		if err := os.WriteFile(filepath.Join(frozen, "more"), nil, 0o644); err == nil {
			t.Error("the frozen subvolume is not frozen any more")
		}
	}
}

func TestModeWithout(t *testing.T) {
	// user::rw-, user:33:rw-, group::r--, mask::rw-, other::---
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x06\x00\x21\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
	for _, c := range []struct {
		name  string
		value []byte
		want  uint32
	}{
		{aclAccess, acl, 0o4640}, {"system.posix_acl_default", acl, 0o4660}, {"user.x", acl, 0o4660}, {aclAccess, nil, 0o4600}, {aclAccess, acl[:6], 0o4600},
	} {
		if got := ModeWithout(c.name, c.value, 0o4660); got != c.want {
			t.Errorf("without %s %q: %o, want %o", c.name, c.value, got, c.want)
		}
	}
}

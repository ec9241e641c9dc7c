package securefs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: IDs of other users")
	}
}

// A push to /proc/sys/kernel/hostname of a container, or to a link to it that the guest had made, renamed the host.
func TestKernelFilesAreRefused(t *testing.T) {
	needRoot(t)
	r, err := Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	const knob = "/proc/sys/kernel/hostname"
	if _, err := r.OpenWrite(knob, true); !errors.Is(err, ErrKernel) {
		t.Errorf("opened for writing: %v", err)
	}
	if _, err := r.Create(knob, Owner{}, 0o644); !errors.Is(err, ErrKernel) {
		t.Errorf("created: %v", err)
	}
	if _, err := r.OpenRead("/proc/kmsg"); !errors.Is(err, ErrKernel) {
		t.Errorf("the host's log is read: %v", err)
	}
	f, err := r.OpenRead("/proc/meminfo")
	if err != nil {
		t.Fatalf("what everybody may read: %v", err)
	}
	_ = f.Close()
}

// Between the look and the making, a guest may put there a file of the host's, from a disk: it must not become the guest's.
func TestOnlyWhatWasMadeChangesItsOwner(t *testing.T) {
	needRoot(t)
	r, inside, _ := hostile(t)
	defer r.Close()
	theirs := Owner{UID: 100000, GID: 100000}
	file, dir := filepath.Join(inside, "etc/passwd"), filepath.Join(inside, "a")
	err := As(theirs.UID, theirs.GID, func() error {
		f, err := r.Create("/etc/passwd", theirs, 0o666)
		if err == nil {
			_ = f.Close()
		}
		return err
	})
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("another's file: %v", err)
	}
	for _, path := range []string{file, dir} {
		if info, err := r.Lstat(path[len(inside):]); err != nil || info.UID != 0 || info.Mode.Perm()&0o022 != 0 {
			t.Errorf("%s: %+v, %v", path, info, err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "guest" {
		t.Errorf("content %q, %v", text, err)
	}
	err = As(theirs.UID, theirs.GID, func() error {
		f, err := r.Create("/dangling", theirs, 0o640)
		if err == nil {
			err = f.Close()
		}
		return errors.Join(err, r.Mkdir("/made", theirs, 0o750))
	})
	if err != nil {
		t.Error(err)
	}
}

package archive

import (
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/subvolume"
	"golang.org/x/sys/unix"
)

// TestLargeWindowsBesideAHungPool: whoever writes to a disk that hangs keeps a window for as long as it does.
func TestLargeWindowsBesideAHungPool(t *testing.T) {
	needRoot(t)
	archive := fileOf(t, zstdFrame(window256M, tarOf(t, "file")))
	synctest.Test(t, func(t *testing.T) {
		const hung, sound = "hung", "sound"
		held, err := open(t.Context(), archive, nil, hung)
		must(t, err)
		other, err := open(t.Context(), archive, nil, sound)
		if err != nil {
			t.Fatalf("another disk: %v", err)
		}
		must(t, other.Close())
		began := time.Now()
		if _, err := open(t.Context(), archive, nil, hung); !errors.Is(err, ErrBusy) || time.Since(began) != windowPatience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		must(t, held.Close())
		again, err := open(t.Context(), archive, nil, hung)
		must(t, err)
		must(t, again.Close())
		windowsMu.Lock()
		defer windowsMu.Unlock()
		if len(windowsOf) > 0 {
			t.Errorf("%d file systems are kept in mind that nobody writes to", len(windowsOf))
		}
	})
}

// TestSubvolumesOfOneDiskShareWindows: each has a device number of its own, so one hung disk had the windows of all others.
func TestSubvolumesOfOneDiskShareWindows(t *testing.T) {
	needRoot(t)
	disk, other := loopfs.Mount(t, "btrfs"), loopfs.Mount(t, "btrfs")
	name := func(dir string) string {
		t.Helper()
		system, err := systemOf(dir)
		must(t, err)
		return system
	}
	device := func(dir string) uint64 {
		t.Helper()
		var st unix.Stat_t
		must(t, unix.Stat(dir, &st))
		return st.Dev
	}
	volume := filepath.Join(disk, "volume")
	must(t, subvolume.FS{}.Make(volume))
	if device(volume) == device(disk) {
		t.Fatal("a subvolume has the device number of its disk")
	}
	if name(volume) != name(disk) {
		t.Errorf("a subvolume is on %q, its disk is %q", name(volume), name(disk))
	}
	plain := t.TempDir()
	for _, system := range []string{name(other), name(plain)} {
		if system == name(disk) {
			t.Errorf("two disks are %q", system)
		}
	}
}

package lxc

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// TestASourceThatHangsIsNotLookedForForGood: to take it away from inside is refused, in time.
func TestASourceThatHangsIsNotLookedForForGood(t *testing.T) {
	dir := t.TempDir()
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs FUSE:", err)
	}
	if err := unix.Mount("x", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fuse)); err != nil {
		_ = unix.Close(fuse)
		t.Skip("needs to mount:", err)
	}
	defer func() {
		_ = unix.Close(fuse) // ends the call that was left behind
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	d, ended := &Driver{}, make(chan error, 1)
	for range 2 {
		go func() {
			_, err := d.originOf(t.Context(), filepath.Join(dir, "share"))
			ended <- err
		}()
		select {
		case err := <-ended:
			if !api.IsUnavailable(err) {
				t.Errorf("it says %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it is waited for")
		}
	}
	if from, err := d.originOf(t.Context(), "/"); err != nil || from == (origin{}) {
		t.Errorf("another source: %v, %v", from, err)
	}
}

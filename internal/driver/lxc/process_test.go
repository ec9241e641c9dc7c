package lxc

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// silent mounts a file system of FUSE that answers nothing, and returns a handle of its root.
func silent(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		t.Skip("the kernel has no FUSE: no file system that does not answer")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		_ = unix.Close(fd)
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd); _ = unix.Unmount(dir, unix.MNT_DETACH) })
	root, err := os.OpenFile(dir, unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

// TestAProgramIsKnownWithoutItsFileSystem: a clean stop looks at what init runs, and a guest's init is on the guest's file system.
func TestAProgramIsKnownWithoutItsFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root mounts")
	}
	if !sameProgram(os.Getpid(), os.Getpid()) || sameProgram(os.Getpid(), 1) {
		t.Error("programs are not told apart")
	}
	link := fmt.Sprintf("/proc/self/fd/%d", silent(t).Fd())
	done := make(chan error, 1)
	go func() {
		f, err := identify(link)
		if err == nil && f.inode == 0 {
			err = errors.New("no number")
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the file system is asked")
	}
}

package helper

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// firstFree is a number of descriptors beyond those that a started program has from us.
const firstFree = 10

// guarded opens a program so that no process of it leads to a file that can be written: sealed, or read-only where the host lets
// nothing in memory be run (vm.memfd_noexec=2).
func guarded(path string) (*os.File, error) {
	f, err := sealed(path)
	if errors.Is(err, unix.EACCES) {
		return readOnly(path)
	}
	return f, err
}

// readOnly opens a program through a read-only mount of its own, which has no place that anybody could change it at.
func readOnly(path string) (*os.File, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("mount of a program: %w", err)
	}
	defer func() { _ = unix.Close(tree) }()
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return nil, fmt.Errorf("mount of a program: %w", err)
	}
	return high(tree, path)
}

// high is a descriptor once more, with a number that no file of a started program has.
func high(fd int, name string) (*os.File, error) {
	other, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstFree)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(other), name), nil
}

// sealed is a copy of a program in memory that nobody can change. A process of it that enters a guest shows what it runs in
// /proc/PID/exe, and whoever opens that for writing would have the program of the host in hand (CVE-2019-5736).
func sealed(path string) (*os.File, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	fd, err := memfd(unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memory for a program: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer func() { _ = f.Close() }()
	if _, err := f.Write(text); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o500); err != nil {
		return nil, err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE); err != nil {
		return nil, fmt.Errorf("sealing a program: %w", err)
	}
	// What is open for writing is not run.
	read, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	if err != nil {
		return nil, err
	}
	defer func() { _ = read.Close() }()
	return high(int(read.Fd()), path)
}

// memfd makes a file in memory that may be run. Kernels before 6.3 do not know the flag, and let every one be.
func memfd(flags int) (int, error) {
	fd, err := unix.MemfdCreate("berth-lxc", flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		return unix.MemfdCreate("berth-lxc", flags)
	}
	return fd, err
}

package dir

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is FS_TOPDIR_FL of linux/fs.h, as `chattr +T` sets it.
const topDir = 0x00020000

// setTopDir has ext4 put each folder made in path into a region of the disk of its own, as it does with those at the
// top of a tree. All volumes of a pool else crowd into one, where a new file has to step over each that was
// deleted there of late. It only helps: errors are no matter, other file systems are left alone.
func setTopDir(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	var st unix.Statfs_t
	if unix.Fstatfs(int(f.Fd()), &st) != nil || st.Type != unix.EXT4_SUPER_MAGIC {
		return
	}
	flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&topDir != 0 {
		return
	}
	_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, int(flags|topDir))
}

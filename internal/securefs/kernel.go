package securefs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrKernel is that a file is an interface of the kernel's.
var ErrKernel = errors.New("a file of the kernel's, not of the instance's; read or write it with a command inside")

// kernels are the file systems whose files are no data but the kernel's own state, by their magic number (statfs(2), linux/magic.h). A
// guest sees the host's: what the daemon reads or writes there is done with the daemon's rights, and in the daemon's namespaces.
var kernels = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true, unix.CGROUP2_SUPER_MAGIC: true,
	unix.DEBUGFS_MAGIC: false, unix.TRACEFS_MAGIC: false, unix.SECURITYFS_MAGIC: false, unix.BPF_FS_MAGIC: false,
	unix.PSTOREFS_MAGIC: false, unix.EFIVARFS_MAGIC: false, unix.BINFMTFS_MAGIC: false, unix.SELINUX_MAGIC: false,
	configfs: false, fusectl: false,
}

// The library does not name these.
const configfs, fusectl = 0x62656570, 0x65735543

// refuseKernel refuses the kernel's files for writing, and for reading all but what everybody may read (the value in kernels).
func refuseKernel(fd int, write bool) error {
	var st unix.Statfs_t
	if err := unix.Fstatfs(fd, &st); err != nil {
		return err
	}
	open, ok := kernels[int64(st.Type)&0xffffffff]
	if !ok {
		return nil
	}
	info, err := fdInfo(fd)
	if err != nil {
		return err
	}
	if write || !open || info.Mode&0o004 == 0 {
		return ErrKernel
	}
	return nil
}

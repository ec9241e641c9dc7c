package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Kind is what a confined process still has to do.
type Kind int

// Kinds.
const (
	RunsTool Kind = iota // open its libraries, and be executed
	Computes             // neither open nor execute anything
)

// audit names the architectures (linux/audit.h) for which the numbers below are known to be those that the kernel sees.
var audit = map[string]uint32{
	"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64, "riscv64": unix.AUDIT_ARCH_RISCV64,
	"ppc64le": unix.AUDIT_ARCH_PPC64LE, "s390x": unix.AUDIT_ARCH_S390X, "loong64": unix.AUDIT_ARCH_LOONGARCH64,
}

// denied are the system calls that no parser makes, and with which one that was taken over would begin: the network, other processes,
// name spaces and mounts, the kernel's larger interfaces, and memory that no limit counts.
var denied = []uint32{
	unix.SYS_SOCKET, unix.SYS_IO_URING_SETUP,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_OPEN, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT, unix.SYS_MOUNT, unix.SYS_UMOUNT2,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_SHMGET, unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_MSGGET, unix.SYS_SEMGET,
	unix.SYS_INOTIFY_INIT1, unix.SYS_FANOTIFY_INIT, unix.SYS_SYSLOG, unix.SYS_PERSONALITY, unix.SYS_KILL, unix.SYS_TKILL,
}

// closed are those that Computes adds.
var closed = []uint32{unix.SYS_OPENAT, unix.SYS_OPENAT2, unix.SYS_EXECVE, unix.SYS_EXECVEAT}

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16 // low half: all architectures above but s390x are little-endian
)

// filterCalls sets a seccomp filter on all threads. What it denies fails with EPERM, so that a tool that only tries goes on. Where the
// kernel has no seccomp, or the architecture is not one of the above, the other bounds must do.
func filterCalls(kind Kind) error {
	arch, ok := audit[runtime.GOARCH]
	if !ok {
		return nil
	}
	calls := append([]uint32{}, denied...)
	calls = append(calls, denyHere...)
	if kind == Computes {
		calls = append(calls, closed...)
	}
	program := assemble(arch, calls)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 && !errors.Is(errno, unix.EINVAL) && !errors.Is(errno, unix.ENOSYS) {
		return fmt.Errorf("filter system calls: %w", errno)
	}
	return nil
}

// assemble makes the filter in classic BPF: foreign architectures end the process, denied calls and new processes fail with EPERM, clone3
// (whose flags a filter cannot see) with ENOSYS, for which libraries fall back to clone.
func assemble(arch uint32, calls []uint32) []unix.SockFilter {
	const errnoOf = unix.SECCOMP_RET_ERRNO
	statement := func(code uint16, k uint32) unix.SockFilter { return unix.SockFilter{Code: code, K: k} }
	load := func(offset uint32) unix.SockFilter { return statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, offset) }
	answer := func(k uint32) unix.SockFilter { return statement(unix.BPF_RET|unix.BPF_K, k) }
	unless := func(k uint32, skip uint8) unix.SockFilter { // goes on if equal, else skips
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: k}
	}
	program := []unix.SockFilter{
		load(dataArch),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 1, K: arch},
		answer(unix.SECCOMP_RET_KILL_PROCESS),
		load(dataNr),
	}
	if arch == unix.AUDIT_ARCH_X86_64 { // the x32 numbers name the same calls again
		program = append(program, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, Jf: 1, K: 1 << 30}, answer(errnoOf|uint32(unix.EPERM)))
	}
	for _, nr := range calls {
		program = append(program, unless(nr, 1), answer(errnoOf|uint32(unix.EPERM)))
	}
	program = append(program, unless(unix.SYS_CLONE3, 1), answer(errnoOf|uint32(unix.ENOSYS)))
	if arch != unix.AUDIT_ARCH_S390X { // there the flags are the second argument, in the other byte order
		program = append(program,
			unless(unix.SYS_CLONE, 3),
			load(dataArg0),
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: 1, K: unix.CLONE_THREAD},
			answer(errnoOf|uint32(unix.EPERM)))
	}
	return append(program, answer(unix.SECCOMP_RET_ALLOW))
}

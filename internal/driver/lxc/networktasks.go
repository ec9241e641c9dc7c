package lxc

import (
	"bytes"
	"context"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// processes looks at processes that were in a control group a moment ago.
func (s *namespaceScan) processes(ctx context.Context, group string, pids []int) error {
	for _, pid := range pids {
		if err := s.process(ctx, group, pid); errors.Is(err, errEnough) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return nil
}

// task is a thread: its folder beneath that of its process, and the process.
type task struct {
	dir    int // the process's folder in /proc, which is never another's
	path   string
	pid    int
	tid    int
	holder int // pidfd of the process
}

func (s *namespaceScan) process(ctx context.Context, group string, pid int) error {
	holder, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ended(err)
	}
	defer func() { _ = unix.Close(holder) }()
	dir, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ended(err)
	}
	defer func() { _ = unix.Close(dir) }()
	// Alive after the folder was opened: the folder is that of the process that is held.
	groups, err := readProc(dir, "cgroup")
	if !alive(holder) || err != nil || !inGroup(groups, group) {
		return ended(err)
	}
	tids, err := listAt(dir, "task")
	if err != nil {
		return ended(err)
	}
	for _, name := range tids {
		tid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s.tasks++; s.tasks > maxTasks {
			s.stop("it has more than %d threads", maxTasks)
			return errEnough
		}
		if ctx.Err() != nil {
			s.stop("the time is up")
			return errEnough
		}
		if err := s.task(ctx, task{dir: dir, path: "task/" + name, pid: pid, tid: tid, holder: holder}); err != nil {
			return err
		}
	}
	return nil
}

// inGroup tells whether lines of /proc/PID/cgroup name a group, or one beneath it.
func inGroup(lines []byte, group string) bool {
	for line := range strings.Lines(string(lines)) {
		if slices.Contains(strings.Split(strings.TrimSpace(line), "/"), group) {
			return true
		}
	}
	return false
}

func (s *namespaceScan) task(ctx context.Context, t task) error {
	if s.look != nil {
		ns, err := openAt(t.dir, t.path+"/ns/net", unix.O_RDONLY)
		if err != nil {
			return s.unread(err)
		}
		if err := s.show(ns); err != nil {
			return err
		}
	}
	mnt, err := openAt(t.dir, t.path+"/ns/mnt", unix.O_RDONLY)
	if err != nil {
		return s.unread(err)
	}
	if err := s.mountNamespace(ctx, mnt); err != nil {
		return err
	}
	if t.tid != t.pid && sameFiles(t.pid, t.tid) {
		return nil
	}
	if t.tid != t.pid {
		const thread = unix.O_EXCL // PIDFD_THREAD, Linux 6.9
		if t.holder, err = unix.PidfdOpen(t.tid, thread); err != nil {
			t.holder = -1
		} else {
			defer func() { _ = unix.Close(t.holder) }()
		}
	}
	return s.descriptors(ctx, t)
}

// sameFiles tells whether two threads share their descriptors; where the kernel does not say, they do not.
func sameFiles(a, b int) bool {
	const files = 2 // KCMP_FILES, linux/kcmp.h
	r, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), files, 0, 0, 0)
	return errno == 0 && r == 0
}

func (s *namespaceScan) descriptors(ctx context.Context, t task) error {
	names, err := listAt(t.dir, t.path+"/fd")
	if err != nil {
		return s.unread(err)
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if s.fds++; s.fds > maxDescriptors {
			s.stop("it has more than %d descriptors", maxDescriptors)
			return errEnough
		}
		if ctx.Err() != nil {
			s.stop("the time is up")
			return errEnough
		}
		if err := s.descriptor(ctx, t, fd); err != nil {
			return err
		}
	}
	return nil
}

// descriptor looks at what one can hold. Nothing of a guest's is opened that is not a namespace: a device would hear of it, and a pipe keep one waiting.
func (s *namespaceScan) descriptor(ctx context.Context, t task, fd int) error {
	name := strconv.Itoa(fd)
	link, err := linkAt(t.dir, t.path+"/fd/"+name)
	if err != nil {
		return s.unread(err)
	}
	switch {
	case strings.HasPrefix(link, "net:["):
		ns, err := openNamespace(t.dir, t.path+"/fd/"+name)
		if err != nil {
			return s.unread(err)
		}
		return s.show(ns)
	case strings.HasPrefix(link, "mnt:["):
		ns, err := openNamespace(t.dir, t.path+"/fd/"+name)
		if err != nil {
			return s.unread(err)
		}
		return s.mountNamespace(ctx, ns)
	case strings.HasPrefix(link, "anon_inode:[io_uring]"):
		s.miss("what a process keeps in an io_uring cannot be seen")
		return nil
	case strings.HasPrefix(link, "pipe:["), strings.HasPrefix(link, "anon_inode:"):
		return nil
	}
	info, err := readProc(t.dir, t.path+"/fdinfo/"+name)
	if err != nil {
		return s.unread(err)
	}
	if n := field(info, "scm_fds"); n != "" && n != "0" {
		s.miss("a process has descriptors on their way to it, which cannot be seen")
	}
	if flags, err := strconv.ParseUint(field(info, "flags"), 8, 64); err == nil && flags&unix.O_PATH != 0 {
		if mount, err := strconv.Atoi(field(info, "mnt_id")); err == nil {
			s.paths[mount] = true
		}
	}
	if strings.HasPrefix(link, "socket:[") {
		return s.holds(t, fd, unix.SIOCGSKNS)
	}
	if bytes.Contains(info, []byte("\niff:")) { // of /dev/net/tun
		return s.holds(t, fd, unix.TUNGETDEVNETNS)
	}
	return nil
}

// holds shows the namespace that a socket, or what holds one, was made in.
func (s *namespaceScan) holds(t task, fd int, request uint) error {
	if s.look == nil {
		return nil
	}
	own, err := unix.PidfdGetfd(t.holder, fd, 0)
	if err != nil {
		return s.unread(err)
	}
	defer func() { _ = unix.Close(own) }()
	ns, err := unix.IoctlRetInt(own, request)
	if err != nil {
		return s.unread(err)
	}
	unix.CloseOnExec(ns)
	return s.show(os.NewFile(uintptr(ns), "net"))
}

// unread notes what could not be read of a thread that goes on.
func (s *namespaceScan) unread(err error) error {
	if ended(err) != nil {
		s.miss("a process cannot be looked at: %v", err)
	}
	return nil
}

// ended drops the errors of a process, or a descriptor, that is no more.
func ended(err error) error {
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

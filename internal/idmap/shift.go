package idmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/subvolume"
)

// Supported tells whether the file system of a folder can be seen through an ID map: nil, or why not.
func Supported(dir string) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return fmt.Errorf("open_tree: %w", err)
	}
	defer func() { _ = unix.Close(tree) }()
	// A process is the only way to a user namespace; this one is held before its first instruction.
	runtime.LockOSThread() // the tracer of a process is a thread
	defer runtime.UnlockOSThread()
	holder := &exec.Cmd{Path: "/proc/self/exe", SysProcAttr: &syscall.SysProcAttr{
		Ptrace: true, Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{HostID: int(Default.Base), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: int(Default.Base), Size: 1}},
	}}
	if err := holder.Start(); err != nil {
		return fmt.Errorf("user namespace: %w", err)
	}
	defer func() {
		_ = holder.Process.Kill()
		_ = holder.Wait()
	}()
	user, err := unix.Open(fmt.Sprintf("/proc/%d/ns/user", holder.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(user) }()
	err = unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(user)})
	if err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}

// Shift changes the owners of a tree from IDs inside to the host's, with file capabilities and POSIX ACLs; Unshift changes them
// back. Both can be cut off at any instant and simply be called again: what is done already is recognised by its owner,
// which for Shift must lie in the map's host IDs, so files must not be owned by those unshifted. A tree goes from one
// map to another by way of no map. The root must not be in use.
func Shift(ctx context.Context, root string, m []spec.IDMapEntry) error {
	return walk(ctx, root, m, true)
}

// Unshift is the way back from Shift.
func Unshift(ctx context.Context, root string, m []spec.IDMapEntry) error {
	return walk(ctx, root, m, false)
}

func walk(ctx context.Context, root string, m []spec.IDMapEntry, toHost bool) error {
	if len(m) == 0 {
		return nil
	}
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("shifting %s: %w", root, err)
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	s := &shifter{ctx: ctx, m: m, toHost: toHost}
	// The root last: while it has its old owner the tree is known not to be done.
	if err := s.folder(fd); err != nil {
		return fmt.Errorf("shifting %s: %w", root, err)
	}
	return s.one(fd, &st)
}

type shifter struct {
	ctx    context.Context
	m      []spec.IDMapEntry
	toHost bool
	buf    []byte // for attributes
}

func (s *shifter) folder(fd int) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(dup), "dir")
	names, err := dir.Readdirnames(-1)
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, name := range names {
		if err := s.entry(fd, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (s *shifter) entry(parent int, name string) error {
	fd, err := openInTree(parent, name, unix.O_PATH|unix.O_NOFOLLOW)
	if errors.Is(err, unix.EXDEV) {
		return nil // something mounted there is not part of the tree
	}
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return s.subfolder(parent, name, fd, &st)
	}
	return s.one(fd, &st)
}

// subfolder changes a folder and what is in it. A guest can have frozen subvolumes (docker's layers are); they are frozen again afterwards.
func (s *shifter) subfolder(parent int, name string, handle int, st *unix.Stat_t) (err error) {
	sub, err := openInTree(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(sub) }()
	if st.Ino == subvolume.TopInode && subvolume.Thaw(sub) {
		defer func() { err = errors.Join(err, subvolume.Refreeze(sub)) }()
	}
	if err := s.folder(sub); err != nil {
		return err
	}
	return s.one(handle, st)
}

// openInTree opens one entry of an open folder unless something is mounted there (EXDEV). Device numbers do not tell: each subvolume of btrfs has its own.
func openInTree(parent int, name string, flags int) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags) | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_BENEATH}
	for {
		fd, err := unix.Openat2(parent, name, &how)
		if err != unix.EAGAIN && err != unix.EINTR { // a rename elsewhere raced with the walk
			return fd, err
		}
	}
}

// one changes a single file.
func (s *shifter) one(fd int, st *unix.Stat_t) error {
	path := fmt.Sprintf("/proc/self/fd/%d", fd)
	if err := s.acls(path, st); err != nil {
		return err
	}
	uid, gid := s.id(st.Uid, true), s.id(st.Gid, false)
	if uid == int(st.Uid) && gid == int(st.Gid) {
		return nil
	}
	link := st.Mode&unix.S_IFMT == unix.S_IFLNK
	// A change of owner takes capabilities and set-ID bits away.
	var caps []byte
	if st.Mode&unix.S_IFMT == unix.S_IFREG {
		buf := make([]byte, 64)
		n, err := unix.Getxattr(path, capability, buf)
		if err == nil {
			caps = s.capability(buf[:n])
		}
	}
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return err
	}
	if !link && st.Mode&(unix.S_ISUID|unix.S_ISGID) != 0 {
		if err := unix.Chmod(path, st.Mode&0o7777); err != nil {
			return err
		}
	}
	if caps != nil {
		return unix.Setxattr(path, capability, caps, 0)
	}
	return nil
}

// id is an owner's other number; what has no place in the map, or is done already, stays.
func (s *shifter) id(n uint32, user bool) int {
	if s.toHost {
		if _, done := translate(s.m, int64(n), user, false); done {
			return int(n)
		}
	}
	if other, ok := translate(s.m, int64(n), user, s.toHost); ok {
		return int(other)
	}
	return int(n)
}

// File capabilities (linux/capability.h): version 2 are root's, version 3 those of the root of a namespace, whose
// number on the host follows.
const (
	capability = "security.capability"
	capsV2     = 0x02000000
	capsV3     = 0x03000000
	capsMask   = 0xff000000
	capsLen    = 20
)

func (s *shifter) capability(raw []byte) []byte {
	if len(raw) < capsLen {
		return raw
	}
	out := bytes.Clone(raw[:capsLen])
	magic := binary.LittleEndian.Uint32(out)
	version, flags := uint32(capsV2), magic&^uint32(capsMask)
	if s.toHost {
		version = capsV3
		root, ok := translate(s.m, 0, true, true)
		if !ok {
			return out
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(root))
	}
	binary.LittleEndian.PutUint32(out, version|flags)
	return out
}

// Outside is what an ID inside is on the host, Inside the other way round; an ID without a place in the map stays what
// it is.
func Outside(m []spec.IDMapEntry, id int64, user bool) int64 {
	if n, ok := translate(m, id, user, true); ok {
		return n
	}
	return id
}

// Inside is the way back from Outside.
func Inside(m []spec.IDMapEntry, id int64, user bool) int64 {
	if n, ok := translate(m, id, user, false); ok {
		return n
	}
	return id
}

// InsideCapability is a file capability as it is without a map.
func InsideCapability(raw []byte) []byte { return (&shifter{}).capability(raw) }

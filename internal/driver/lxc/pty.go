package lxc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/driver/lxc/helper"
)

// Terminal makes a pseudo-terminal in the instance's own devpts, owned by its root: the controlling end and the one
// for a command.
func (d *Driver) Terminal(_ context.Context, id string) (controller, terminal *os.File, err error) {
	i, err := d.initOf(id)
	if err != nil {
		return nil, nil, err
	}
	defer i.release()
	uid, gid, err := i.owner()
	if err != nil {
		return nil, nil, err
	}
	ptmx, err := openInside(i, "dev/pts/ptmx", unix.O_PATH)
	if err != nil {
		return nil, nil, fmt.Errorf("terminals of the instance: %w", err)
	}
	defer func() { _ = unix.Close(ptmx) }()
	// What lies at that path is the guest's to choose. Only devpts makes terminals.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(ptmx, &fs); err != nil {
		return nil, nil, err
	}
	if fs.Type != unix.DEVPTS_SUPER_MAGIC {
		return nil, nil, errors.New("the instance's /dev/pts is not a file system of terminals")
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", ptmx), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("terminals of the instance: %w", err)
	}
	return pair(fd, uid, gid)
}

// hostTerminal makes a pseudo-terminal on the host.
func hostTerminal() (controller, terminal *os.File, err error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	return pair(fd, 0, 0)
}

// pair unlocks a new terminal, whose controlling end is fd, and opens its other end without a path.
func pair(fd, uid, gid int) (controller, terminal *os.File, err error) {
	fail := func(err error) (*os.File, *os.File, error) {
		_ = unix.Close(fd)
		return nil, nil, fmt.Errorf("new terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return fail(err)
	}
	peer, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return fail(errno)
	}
	if err := unix.Fchown(int(peer), uid, gid); err != nil {
		_ = unix.Close(int(peer))
		return fail(err)
	}
	return os.NewFile(uintptr(fd), "ptmx"), os.NewFile(peer, "pts"), nil
}

// openInside opens a path in the file system that an init sees, following no link.
func openInside(i *initProcess, path string, flags int) (int, error) {
	root, err := i.root()
	if err != nil {
		return -1, err
	}
	defer func() { _ = root.Close() }()
	return unix.Openat2(int(root.Fd()), path, &unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	})
}

// consoleSession is a terminal of the host that the helper connects with the container's console.
type consoleSession struct {
	*os.File
	relay *helper.Process
}

// Console implements instance.Runtime. What it returns is an *os.File of a terminal, in effect: it has File.
func (d *Driver) Console(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	if d.get(id) == nil {
		return nil, d.absent(id)
	}
	controller, terminal, err := hostTerminal()
	if err != nil {
		return nil, fmt.Errorf("terminal for the console: %w", err)
	}
	defer func() { _ = terminal.Close() }()
	p, err := d.helper.Call(ctx, helper.Call{Args: d.call("console", id), Stdio: [3]*os.File{terminal, terminal, terminal}, Terminal: true})
	if err != nil {
		return nil, errors.Join(err, controller.Close())
	}
	return &consoleSession{controller, p}, nil
}

// Resize tells the console's side how large the window is.
func (s *consoleSession) Resize(width, height int) error { return Resize(s.File, width, height) }

// Close ends the session.
func (s *consoleSession) Close() error {
	s.relay.Kill()
	s.relay.Close()
	return s.File.Close()
}

// Resize sets the size of a terminal, in characters.
func Resize(terminal *os.File, width, height int) error {
	raw, err := terminal.SyscallConn()
	if err != nil {
		return err
	}
	var ioctl error
	err = raw.Control(func(fd uintptr) {
		ioctl = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(height), Col: uint16(width)})
	})
	return errors.Join(err, ioctl)
}

// Has tells whether a path, without its leading slash, exists inside, links not followed.
func (d *Driver) Has(id, path string) bool {
	i, err := d.initOf(id)
	if err != nil {
		return false
	}
	defer i.release()
	fd, err := openInside(i, path, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}

package treecopy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/omitted"
)

// MaxDepth is how deep folders may be nested, which bounds the open files that a hostile tree makes a copy hold at once. It is as deep as a
// path of PATH_MAX leads.
const MaxDepth = unix.PathMax / 2

// chunk is how many entries of one folder make a piece of work worth giving away.
const chunk = 64

// ErrTooDeep is for a tree with folders nested deeper than a copy follows.
var ErrTooDeep = errors.New("folders are nested too deeply")

// Options change how a tree is copied. The zero value is right for most.
type Options struct {
	// Workers bounds the goroutines at work; 0 is GOMAXPROCS.
	Workers int
	// NoReflink copies data even where the file system could share it.
	NoReflink bool
}

// Copy copies the content of the folder src into the empty folder dst, and gives dst the attributes of src. Both are
// paths that the caller trusts; nothing within them is trusted. On error dst holds a part of the tree.
func Copy(ctx context.Context, dst, src string, o Options) error {
	// lint:allow guest-paths: the top of the tree is the caller's, what is within is reached by handle
	from, err := os.Open(src)
	if err != nil {
		return err
	}
	defer from.Close()
	// lint:allow guest-paths: the top of the tree is the caller's, what is within is reached by handle
	to, err := os.Open(dst)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := CopyDir(ctx, to, from, o); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return nil
}

// CopyDir is Copy between two open folders.
func CopyDir(ctx context.Context, dst, src *os.File, o Options) error {
	from, to := int(src.Fd()), int(dst.Fd())
	c := &copier{workers: newWorkers(ctx, o.Workers), root: to, links: map[inode]*link{}}
	c.noReflink.Store(o.NoReflink)
	if err := c.prepare(); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	c.folder(from, to, nil, 0)
	if err := c.err(); err != nil {
		return err
	}
	if err := c.attributes(to, from, nil, ".", &st); err != nil {
		return err
	}
	c.lost.Warn(ctx, "A copy lacks what its source has", "")
	return nil
}

type inode struct{ dev, ino uint64 }

// link is the first copy of a file that has several names; done is closed once path can be linked to.
type link struct {
	done chan struct{}
	path *Path // below the root of the copy; nil if there is no copy
}

type copier struct {
	*workers
	root      int
	noReflink atomic.Bool
	noXattr   atomic.Bool
	plain     bool // new files belong to 0:0, and get the mode asked for less umask
	umask     uint32

	mu    sync.Mutex
	links map[inode]*link
	lost  omitted.List // what the target cannot hold
}

// prepare makes the target folder one that hands nothing down to what is created in it, and learns what a new file
// gets by itself, so that files already right cost no further calls.
func (c *copier) prepare() error {
	for _, name := range []string{"system.posix_acl_default", "system.posix_acl_access"} {
		err := unix.Fremovexattr(c.root, name)
		if err != nil && err != unix.ENODATA && err != unix.EOPNOTSUPP {
			return fmt.Errorf("prepare target: %w", err)
		}
	}
	if err := unix.Fchmod(c.root, 0o700); err != nil {
		return fmt.Errorf("prepare target: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(c.root, &st); err != nil {
		return fmt.Errorf("prepare target: %w", err)
	}
	c.plain = os.Geteuid() == 0 && st.Gid == 0
	c.umask = umask()
	return nil
}

// folder copies the entries of one folder; rel is its path below the root. It returns when all of it is copied.
func (c *copier) folder(from, to int, rel *Path, depth int) {
	if depth > MaxDepth {
		c.note(ErrTooDeep)
		return
	}
	entries, err := readDir(from)
	if err != nil {
		c.note(fmt.Errorf("%s: %w", omitted.Shorten(rel.String()), err))
		return
	}
	var wg sync.WaitGroup
	for len(entries) > 0 && c.err() == nil {
		n := min(chunk, len(entries))
		if len(entries) < 2*chunk { // not worth a second piece
			n = len(entries)
		}
		part := entries[:n]
		entries = entries[n:]
		work := func() error { return c.part(from, to, rel, part, depth, &wg) }
		if len(entries) == 0 {
			c.note(work())
		} else {
			c.do(&wg, work)
		}
	}
	wg.Wait()
}

func (c *copier) part(from, to int, rel *Path, entries []entry, depth int, wg *sync.WaitGroup) error {
	for _, e := range entries {
		if err := c.err(); err != nil {
			return err
		}
		if err := c.entry(from, to, rel, e, depth, wg); err != nil && !errors.Is(err, errGone) {
			return fmt.Errorf("%s: %w", omitted.Shorten(rel.Join(e.name).String()), err)
		}
	}
	return nil
}

// errGone says that a source disappeared, or became something else, while it was being copied.
var errGone = errors.New("source has gone")

func (c *copier) entry(from, to int, rel *Path, e entry, depth int, wg *sync.WaitGroup) error {
	kind := e.kind
	if kind == unix.DT_REG {
		return c.regular(from, to, rel, e.name)
	}
	var st unix.Stat_t
	if err := unix.Fstatat(from, e.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return gone(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return c.regular(from, to, rel, e.name)
	case unix.S_IFDIR:
		return c.subfolder(from, to, rel, e.name, &st, depth, wg)
	default:
		return c.linked(&st, to, rel, e.name, func() error { return c.special(from, to, rel, e.name, &st) })
	}
}

func (c *copier) subfolder(from, to int, rel *Path, name string, st *unix.Stat_t, depth int, wg *sync.WaitGroup) error {
	if err := unix.Mkdirat(to, name, 0o700); err != nil {
		return err
	}
	source, err := openDirBelow(from, name)
	mount := err == unix.EXDEV // something is mounted there: the folder is copied, its content is not
	if mount {
		source, err = unix.Openat(from, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return gone(err)
	}
	target, err := openDirBelow(to, name)
	if err != nil {
		_ = unix.Close(source)
		return err
	}
	c.do(wg, func() error {
		defer unix.Close(source)
		defer unix.Close(target)
		where := rel.Join(name)
		if mount {
			c.lost.Add(where.String(), "something is mounted on it")
		} else {
			c.folder(source, target, where, depth+1)
		}
		if c.err() != nil {
			return nil
		}
		if err := c.attributes(target, source, rel, name, st); err != nil {
			return fmt.Errorf("%s: %w", omitted.Shorten(where.String()), err)
		}
		return nil
	})
	return nil
}

// linked makes one name of a file: by make if it is the first of its names, by a hard link if not.
func (c *copier) linked(st *unix.Stat_t, to int, rel *Path, name string, make func() error) error {
	if st.Nlink < 2 {
		return make()
	}
	id := inode{uint64(st.Dev), st.Ino}
	c.mu.Lock()
	l, known := c.links[id]
	if !known {
		l = newLink()
		c.links[id] = l
	}
	c.mu.Unlock()
	if !known {
		defer close(l.done)
		if err := make(); err != nil {
			return err
		}
		l.path = rel.Join(name)
		return nil
	}
	<-l.done // its maker is at work and waits for nobody
	if l.path != nil {
		if err := c.link(l.path, rel, to, name); err != unix.EMLINK {
			return err
		}
	}
	return make()
}

// link gives a file of the copy, first, one more name in an open folder, which is at rel.
func (c *copier) link(first, rel *Path, to int, name string) error {
	switch {
	case first.folder == rel:
		return unix.Linkat(to, first.name, to, name, 0)
	case first.Len() < unix.PathMax:
		return unix.Linkat(c.root, first.String(), to, name, 0)
	}
	folder, err := c.open(first.folder)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(folder) }()
	return unix.Linkat(folder, first.name, to, name, 0)
}

// open opens a folder of the copy whose path may be longer than the kernel takes at once.
func (c *copier) open(p *Path) (int, error) {
	at, rest := c.root, p.String()
	for {
		piece := rest
		if len(rest) >= unix.PathMax {
			piece = rest[:strings.LastIndexByte(rest[:unix.PathMax], '/')]
		}
		next, err := openDirBelow(at, piece)
		if at != c.root {
			_ = unix.Close(at)
		}
		if err != nil || len(piece) == len(rest) {
			return next, err
		}
		at, rest = next, rest[len(piece)+1:]
	}
}

func newLink() *link { return &link{done: make(chan struct{})} }

// gone turns the errors of a source that changed under our feet into errGone.
func gone(err error) error {
	switch err {
	case unix.ENOENT, unix.ELOOP, unix.ENOTDIR, unix.ENXIO, unix.ESTALE:
		return errGone
	}
	return err
}

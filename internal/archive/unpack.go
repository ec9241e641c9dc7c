package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/omitted"
)

// Options say how to unpack. The zero value unpacks everything that there is room for.
type Options struct {
	// Room, if set, bounds what is made, together with what else is taken from it; else the file system's own does.
	Room *diskspace.Room
	// Progress, if set, is called with the bytes of the archive file read so far, and its size.
	Progress func(read, size int64)
	// Select, if set, is asked for each entry by its clean name ("rootfs/etc/passwd"; "." is the top) and kind. It
	// gives the name to unpack as, or "" to leave the entry out, or an error to refuse the archive.
	Select func(name string, kind Kind) (string, error)
}

// Kind is what an entry is.
type Kind byte

// Kinds of entries.
const (
	File Kind = iota
	Directory
	Symlink
	Hardlink
	Device
	Fifo
	LinkTarget // what a hard link names; asked for after the Hardlink itself
)

// Stats is what Unpack made.
type Stats struct {
	Entries int
	Bytes   int64
	Nodes   *omitted.List // device nodes left out; nil if there are none
	Lost    *omitted.List // attributes of files that could not be kept, or are not for here
}

// Unpack writes the archive f into dir, which must exist and be empty. On error dir is empty again.
func Unpack(ctx context.Context, f *os.File, dir string, o Options) (Stats, error) {
	var progress func(int64)
	if o.Progress != nil {
		info, err := f.Stat()
		if err != nil {
			return Stats{}, fmt.Errorf("read archive: %w", err)
		}
		progress = func(n int64) { o.Progress(n, info.Size()) }
	}
	to, err := systemOf(dir)
	if err != nil {
		return Stats{}, err
	}
	r, err := open(ctx, f, progress, to)
	if err != nil {
		return Stats{}, err
	}
	stats, err := unpack(ctx, r, dir, o)
	if closeErr := r.Close(); err == nil && closeErr != nil {
		err = errors.Join(closeErr, Empty(dir))
	}
	if err != nil {
		return Stats{}, err
	}
	return stats, nil
}

func unpack(ctx context.Context, r io.Reader, dir string, o Options) (stats Stats, err error) {
	u, err := newUnpacker(dir, o)
	if err != nil {
		return Stats{}, err
	}
	defer func() {
		u.tree.close()
		if err != nil {
			err = errors.Join(fmt.Errorf("unpack: %w", err), Empty(dir))
		}
	}()
	if err := u.run(ctx, &tarInput{r: ContextReader{ctx, r}, left: maxStream}); err != nil {
		return Stats{}, err
	}
	u.stats.Lost = u.tree.lost
	return u.stats, nil
}

type unpacker struct {
	room   *diskspace.Room
	choose func(string, Kind) (string, error)
	tree   *tree
	late   []lateDir
	held   int               // bytes of memory that late and left take, nearly
	left   map[string]uint32 // device nodes left out, and their kinds (S_IFCHR …)
	buf    []byte
	stats  Stats
}

func newUnpacker(dir string, o Options) (*unpacker, error) {
	if o.Room == nil {
		o.Room = diskspace.New(dir, "the file system of "+dir, 0)
	}
	t, err := openTree(dir, o.Room)
	if err != nil {
		return nil, err
	}
	u := &unpacker{room: o.Room, choose: o.Select, tree: t, buf: make([]byte, 256<<10)}
	if u.choose == nil {
		u.choose = func(name string, _ Kind) (string, error) { return name, nil }
	}
	return u, nil
}

func (u *unpacker) run(ctx context.Context, in *tarInput) error {
	tr := tar.NewReader(in)
	content := ContextReader{ctx, tr} // the holes of a file do not come from in: nothing is read of it for terabytes
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return tarError(err)
		}
		if err := u.entry(content, h); err != nil {
			return fmt.Errorf("entry %q: %w", shorten(h.Name), err)
		}
	}
	if err := in.finish(); err != nil {
		return err
	}
	return u.finishDirs()
}

// tarError tells a damaged archive from a source that failed.
func tarError(err error) error {
	switch {
	case errors.Is(err, tar.ErrHeader), errors.Is(err, tar.ErrFieldTooLong):
		return refused("%w", err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return refused("archive is cut short")
	default:
		return err
	}
}

func (u *unpacker) entry(content io.Reader, h *tar.Header) error {
	u.stats.Entries++
	kind, ok, err := kindOf(h)
	if err != nil || !ok {
		return err
	}
	if h.Size < 0 || h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= 1<<32-1 || int64(h.Gid) >= 1<<32-1 {
		return refused("size or owner is out of range")
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return err
	}
	if name, err = u.choose(name, kind); err != nil || name == "" {
		return err
	}
	if name != "." {
		if name, err = cleanName(name); err != nil {
			return err
		}
	}
	if was, ok := u.left[name]; ok && (kind != Device || was != nodeKind(h)) {
		return refused("name comes twice, as %s and as something else", kindName(was))
	}
	m := metaOf(h)
	for _, attribute := range m.dropped {
		u.tree.lost.Add(name, "attribute %s belongs to the host that the archive is from", attribute)
	}
	if err := u.takeEntry(kind, name, m); err != nil {
		return err
	}
	switch kind {
	case Directory:
		return u.directory(name, m)
	case File:
		if h.Size > maxContent-u.stats.Bytes {
			return overLimit("more than %d bytes", int64(maxContent))
		}
		u.stats.Bytes += h.Size
		return u.file(content, name, h.Size, m)
	}
	if name == "." {
		return refused("the top of the archive is not a directory")
	}
	if kind == Device && !harmless(h) {
		return u.leaveOut(name, nodeKind(h))
	}
	switch kind {
	case Symlink:
		return u.tree.symlink(name, h.Linkname, m)
	case Hardlink:
		target, err := cleanName(h.Linkname)
		if err != nil {
			return fmt.Errorf("link target %q: %w", shorten(h.Linkname), err)
		}
		if target, err = u.choose(target, LinkTarget); err != nil {
			return err
		}
		if target == "" {
			return refused("hard link to %q, which is not part of the image", shorten(h.Linkname))
		}
		if kind, ok := u.left[target]; ok {
			return u.leaveOut(name, kind)
		}
		return u.tree.link(name, target)
	default:
		delete(u.left, name)
		return u.tree.node(name, kind, h, m)
	}
}

func nodeKind(h *tar.Header) uint32 {
	if h.Typeflag == tar.TypeBlock {
		return unix.S_IFBLK
	}
	return unix.S_IFCHR
}

// leaveOut notes a device node that is not made, and removes an earlier member of that name and kind. An instance gets its devices from its configuration,
// never from files, and images made from whole systems have such nodes.
func (u *unpacker) leaveOut(name string, kind uint32) error {
	if u.held += len(name) + lateOverhead; u.held > maxLate {
		return overLimit("too many device nodes")
	}
	fd, base, err := u.tree.parent(name)
	if err == nil {
		err = u.tree.clear(fd, base, kind)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	if u.left == nil {
		u.left, u.stats.Nodes = map[string]uint32{}, &omitted.List{}
	}
	u.left[name] = kind
	u.stats.Nodes.Add(name, "an instance gets its devices from its configuration")
	return nil
}

// takeEntry asks for the room of what an entry takes beside its content: its name in a directory, an inode, attributes.
func (u *unpacker) takeEntry(kind Kind, name string, m meta) error {
	bytes := int64(len(path.Base(name)) + 16)
	for key, value := range m.xattrs {
		bytes += int64(len(key) + len(value))
	}
	if kind == Directory {
		bytes += diskspace.Block
	}
	if err := u.room.Take(bytes); err != nil || kind == Hardlink {
		return err
	}
	return u.room.TakeFile()
}

// Kinds of members that only GNU tar writes (its manual, "Basic Tar Format").
const (
	typeDumpDir = 'D' // a directory, whose content is the list of its names: of an incremental backup
	typeLabel   = 'V' // the archive's label, no file
)

func kindOf(h *tar.Header) (kind Kind, ok bool, err error) {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont, '\x00':
		return File, true, nil
	case tar.TypeDir, typeDumpDir:
		return Directory, true, nil
	case tar.TypeSymlink:
		return Symlink, true, nil
	case tar.TypeLink:
		return Hardlink, true, nil
	case tar.TypeChar, tar.TypeBlock:
		return Device, true, nil
	case tar.TypeFifo:
		return Fifo, true, nil
	case tar.TypeXGlobalHeader, typeLabel:
		return 0, false, nil
	default:
		return 0, false, refused("unknown kind %q", h.Typeflag)
	}
}

// cleanName gives the name relative to the top without "." elements, or refuses it.
func cleanName(name string) (string, error) {
	if name == "" || len(name) > maxName || strings.IndexByte(name, 0) >= 0 {
		return "", refused("bad name")
	}
	// A leading slash means the top of the archive, as tar has it: LXD's own test image has such a name.
	if name = strings.TrimLeft(name, "/"); name == "" {
		return ".", nil
	}
	if strings.Contains(name, "..") {
		for _, element := range strings.Split(name, "/") {
			if element == ".." {
				return "", refused("name leads outside")
			}
		}
	}
	name = path.Clean(name)
	if strings.Count(name, "/") >= maxDepth {
		return "", refused("more than %d directories deep", maxDepth)
	}
	return name, nil
}

func shorten(name string) string {
	if len(name) > 200 {
		return name[:200] + "…"
	}
	return name
}

// nothing is a block of zeros to compare with, which is many times as fast as to look at each byte: images can have terabytes of holes.
var nothing [4096]byte

func isZero(p []byte) bool {
	for len(p) > len(nothing) {
		if !bytes.Equal(p[:len(nothing)], nothing[:]) {
			return false
		}
		p = p[len(nothing):]
	}
	return bytes.Equal(p, nothing[:len(p)])
}

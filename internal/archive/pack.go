package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/treecopy"
)

// Packer writes a tar stream from folders of the host. It opens what it packs beneath the folder's own handle and follows
// no link, so that whoever lives in the folder cannot lead it outside.
type Packer struct {
	// IDMap is the map that the owners of what is packed are shifted to; in the archive they are not.
	IDMap []spec.IDMapEntry
	// NoACLs leaves POSIX ACLs out, for a format that cannot hold them (Compression.ACLs).
	NoACLs bool
	// Omitted is what could not be packed.
	Omitted omitted.List

	ctx   context.Context
	w     io.Writer
	tw    *tar.Writer
	links map[inode]*treecopy.Path
	buf   []byte
}

type inode struct{ dev, ino uint64 }

// NewPacker makes a packer that writes to w until ctx ends. Close writes the end mark.
func NewPacker(ctx context.Context, w io.Writer) *Packer {
	return &Packer{ctx: ctx, w: w, tw: tar.NewWriter(w), links: map[inode]*treecopy.Path{}, buf: make([]byte, 256<<10)}
}

// Close ends the archive; the writer beneath stays open.
func (p *Packer) Close() error { return p.tw.Close() }

// AddBytes adds a file of root's with mode 0644.
func (p *Packer) AddBytes(name string, data []byte, mtime time.Time) error {
	h := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(data)), ModTime: mtime, Typeflag: tar.TypeReg}
	if err := p.tw.WriteHeader(h); err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	_, err := p.tw.Write(data)
	return err
}

// AddTree adds the folder dir and everything in it, under the name prefix ("rootfs", or "." for the top). What is mounted inside, and sockets, are left
// out, and noted as Omitted. Subvolumes of btrfs are folders like others, though their device numbers differ.
func (p *Packer) AddTree(dir, prefix string) error {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		_ = unix.Close(fd)
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	var at *treecopy.Path
	if prefix != "." {
		at = at.Join(prefix)
	}
	return p.addDir(fd, at, &st, 0)
}

// addDir adds an open folder and closes it.
func (p *Packer) addDir(fd int, at *treecopy.Path, st *unix.Stat_t, depth int) error {
	name := at.String()
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if depth >= maxDepth-1 || len(name) > maxName-unix.NAME_MAX { // it could not be unpacked; the first element is the prefix
		return fmt.Errorf("pack %s: %w", shorten(name), treecopy.ErrTooDeep)
	}
	attributes := p.xattrs(fd, name, st)
	if err := p.writeHeader(name+"/", "", st, tar.TypeDir, attributes); err != nil {
		return err
	}
	entries, err := f.ReadDir(-1)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	for _, e := range entries {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		if err := p.add(fd, e.Name(), at.Join(e.Name()), st.Dev, depth); err != nil {
			return err
		}
	}
	return nil
}

func (p *Packer) add(dir int, base string, at *treecopy.Path, dev uint64, depth int) error {
	name := at.String()
	var st unix.Stat_t
	err := unix.Fstatat(dir, base, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil // gone meanwhile
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	kind := st.Mode & unix.S_IFMT
	switch {
	case kind == unix.S_IFSOCK:
		p.Omitted.Add(name, "an archive cannot hold a socket")
		return nil
	case kind == unix.S_IFDIR:
		return p.addFolder(dir, base, at, &st, depth)
	case st.Dev != dev: // only folders can be subvolumes
		p.Omitted.Add(name, "something is mounted on it")
		return nil
	}
	if st.Nlink > 1 {
		key := inode{st.Dev, st.Ino}
		if first, ok := p.links[key]; ok {
			return p.writeHeader(name, first.String(), &st, tar.TypeLink, nil)
		}
		p.links[key] = at
	}
	if kind == unix.S_IFREG {
		return p.addFile(dir, base, name)
	}
	return p.addSpecial(dir, base, name, &st)
}

// addSpecial adds a symbolic link, a device node or a pipe.
func (p *Packer) addSpecial(dir int, base, name string, st *unix.Stat_t) error {
	attributes := p.xattrsAt(dir, base, name, st)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		n, err := unix.Readlinkat(dir, base, p.buf)
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		return p.writeHeader(name, string(p.buf[:n]), st, tar.TypeSymlink, attributes)
	case unix.S_IFCHR:
		return p.writeHeader(name, "", st, tar.TypeChar, attributes)
	case unix.S_IFBLK:
		return p.writeHeader(name, "", st, tar.TypeBlock, attributes)
	default:
		return p.writeHeader(name, "", st, tar.TypeFifo, attributes)
	}
}

// addFolder adds a folder inside an open one. On a mount point the folder stays, what is mounted on it does not.
func (p *Packer) addFolder(dir int, base string, at *treecopy.Path, st *unix.Stat_t, depth int) error {
	name := at.String()
	sub, err := openBelow(dir, base, unix.O_DIRECTORY)
	switch {
	case errors.Is(err, unix.EXDEV):
		p.Omitted.Add(name, "something is mounted on it")
		return p.writeHeader(name+"/", "", st, tar.TypeDir, nil)
	case errors.Is(err, unix.ENOENT):
		return nil // gone meanwhile
	case err != nil:
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return p.addDir(sub, at, st, depth+1)
}

func (p *Packer) addFile(dir int, base, name string) error {
	fd, err := openBelow(dir, base, unix.O_NONBLOCK)
	if errors.Is(err, unix.EXDEV) {
		p.Omitted.Add(name, "something is mounted on it")
		return nil
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("pack %s: it changed while it was read: %w", name, err)
	}
	attributes := p.xattrs(fd, name, &st)
	data, err := extents(fd, &st)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	if data != nil {
		h, err := p.header(name, "", &st, tar.TypeReg, attributes)
		if err == nil {
			err = p.addSparse(f, h, data)
		}
		if err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
		return nil
	}
	if err := p.writeHeader(name, "", &st, tar.TypeReg, attributes); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{p.tw}, io.LimitReader(ContextReader{p.ctx, f}, st.Size), p.buf)
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	if n < st.Size { // it was cut while it was read: the header cannot be taken back
		_, err = io.CopyN(p.tw, ContextReader{p.ctx, zeros{}}, st.Size-n)
	}
	return err
}

// openBelow opens one entry of an open folder; it follows no link and enters no mount (EXDEV).
func openBelow(dir int, base string, flags int) (int, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_CLOEXEC | uint64(flags),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	for {
		fd, err := unix.Openat2(dir, base, &how)
		if err != unix.EAGAIN && err != unix.EINTR { // a rename elsewhere raced with the walk
			return fd, err
		}
	}
}

func (p *Packer) writeHeader(name, link string, st *unix.Stat_t, kind byte, xattrs map[string]string) error {
	h, err := p.header(name, link, st, kind, xattrs)
	if err == nil {
		err = p.tw.WriteHeader(h)
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

func (p *Packer) header(name, link string, st *unix.Stat_t, kind byte, xattrs map[string]string) (*tar.Header, error) {
	h := &tar.Header{
		Typeflag: kind, Name: name, Linkname: link, Mode: int64(st.Mode & 0o7777),
		Uid: int(idmap.Inside(p.IDMap, int64(st.Uid), true)), Gid: int(idmap.Inside(p.IDMap, int64(st.Gid), false)),
		ModTime: time.Unix(st.Mtim.Sec, 0), // whole seconds: a fraction would cost a PAX header for each file
	}
	switch kind {
	case tar.TypeReg:
		h.Size = st.Size
	case tar.TypeChar, tar.TypeBlock:
		h.Devmajor, h.Devminor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	}
	if len(xattrs) > 0 {
		h.PAXRecords = map[string]string{}
		for key, value := range xattrs {
			inside, err := p.inside(key, value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			h.PAXRecords[xattrRecord+key] = inside
		}
	}
	return h, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

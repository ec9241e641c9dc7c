package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/store"
)

// Unpack writes metadata.yaml, templates/ and rootfs/ (of a virtual machine: rootfs.img, as it came) of an image into dir,
// which must be empty, as far as there is room; on error it is empty again. prepared is what Prepared said: an image that was deleted and has come again in
// another shape meanwhile is not found. The files' hash is checked before their first use in the daemon's life, and again
// if they have changed since.
func (s *Service) Unpack(ctx context.Context, project, fingerprint, prepared, dir string, room *diskspace.Room, progress func(percent int, bytesPerSecond int64)) error {
	row, err := s.find(project, fingerprint)
	if err != nil {
		return err
	}
	fingerprint = row.Path[1]
	if row.Value.prepared(fingerprint) != prepared {
		return api.NotFound("%s", errNotFound)
	}
	files, err := s.open(row)
	if err != nil {
		return err
	}
	for _, f := range files {
		defer f.Close()
	}
	if err := s.verified.check(ctx, row.Value.files(fingerprint), fingerprint, files); err != nil {
		return err
	}
	if err := unpackFiles(ctx, row, files, dir, room, progress); err != nil {
		if errors.Is(err, archive.ErrBusy) {
			err = api.Unavailable("%w", err)
		}
		return errors.Join(fmt.Errorf("image %s: %w", fingerprint, err), archive.Empty(dir))
	}
	return nil
}

func unpackFiles(ctx context.Context, row store.Row[record], files []*os.File, dir string, room *diskspace.Room, progress func(int, int64)) error {
	report := rate(progress)
	if len(files) == 1 {
		stats, err := archive.Unpack(ctx, files[0], dir, archive.Options{Room: room, Select: selectUnified, Progress: report})
		warnOfOmitted(ctx, row, stats)
		return err
	}
	if _, err := archive.Unpack(ctx, files[0], dir, archive.Options{Room: room, Select: selectMeta}); err != nil {
		return err
	}
	if row.Value.Type == TypeVM {
		return copyDisk(ctx, files[1], filepath.Join(dir, "rootfs.img"), room)
	}
	rootfs := filepath.Join(dir, "rootfs")
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	stats, err := archive.Unpack(ctx, files[1], rootfs, archive.Options{Room: room, Progress: report})
	warnOfOmitted(ctx, row, stats)
	return err
}

// warnOfOmitted says what of an image was left out.
func warnOfOmitted(ctx context.Context, row store.Row[record], stats archive.Stats) {
	if stats.Lost != nil {
		stats.Lost.Warn(ctx, "Files of an image lack attributes", urlOf(row.Path...))
	}
	if stats.Nodes != nil {
		stats.Nodes.Warn(ctx, "Device nodes of an image are left out", urlOf(row.Path...))
	}
}

// rate turns bytes into what clients are shown, at most ten times a second.
func rate(progress func(int, int64)) func(read, size int64) {
	if progress == nil {
		return nil
	}
	start, last := time.Now(), time.Time{}
	return func(read, size int64) {
		now := time.Now()
		if size <= 0 || now.Sub(last) < 100*time.Millisecond && read < size {
			return
		}
		last = now
		elapsed := max(now.Sub(start), time.Millisecond)
		progress(int(min(read*100/size, 100)), int64(float64(read)/elapsed.Seconds()))
	}
}

var errOutsideRootfs = fmt.Errorf("%w: only plain files and folders may stand beside the root file system", archive.ErrRefused)

// selectMeta takes the part of an image that is the daemon's own: plain files, nothing else.
func selectMeta(name string, kind archive.Kind) (string, error) {
	if name != "metadata.yaml" && name != "templates" && !strings.HasPrefix(name, "templates/") {
		if kind == archive.LinkTarget {
			return "", errOutsideRootfs
		}
		return "", nil
	}
	if kind != archive.File && kind != archive.Directory {
		return "", errOutsideRootfs
	}
	return name, nil
}

func selectUnified(name string, kind archive.Kind) (string, error) {
	if name == "rootfs" && kind != archive.Directory {
		return "", errOutsideRootfs
	}
	if name == "rootfs" || strings.HasPrefix(name, "rootfs/") {
		return name, nil
	}
	if name == "rootfs.img" && kind == archive.File {
		return name, nil
	}
	return selectMeta(name, kind)
}

// copyDisk copies a disk image, sharing its blocks where the file system can.
func copyDisk(ctx context.Context, from *os.File, to string, room *diskspace.Room) error {
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer out.Close()
	if unix.IoctlFileClone(int(out.Fd()), int(from.Fd())) == nil {
		return nil
	}
	info, err := from.Stat()
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if _, err := io.Copy(diskspace.Writer{W: out, Room: room}, archive.ContextReader{Ctx: ctx, R: io.NewSectionReader(from, 0, info.Size())}); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return out.Close()
}

// verified remembers which files have been hashed, and as what they were then.
type verified struct {
	mu   sync.Mutex
	seen map[string]string // name of the files -> their identity
}

// identity is what changes when a file does: a new inode, length or time of change.
func identity(st *unix.Stat_t) string {
	return fmt.Sprintf("%d:%d:%d:%d.%d:%d.%d;", st.Dev, st.Ino, st.Size, st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
}

// note remembers files that were hashed while they were written. A missing second file is a unified image's.
func (v *verified) note(name string, paths ...string) {
	var id string
	for _, path := range paths {
		var st unix.Stat_t
		if unix.Lstat(path, &st) == nil {
			id += identity(&st)
		}
	}
	v.set(name, id)
}

func (v *verified) set(name, id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seen == nil {
		v.seen = map[string]string{}
	}
	v.seen[name] = id
}

func (v *verified) forget(name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.seen, name)
}

func (v *verified) check(ctx context.Context, name, fingerprint string, files []*os.File) error {
	var id string
	for _, f := range files {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return fmt.Errorf("verify image: %w", err)
		}
		id += identity(&st)
	}
	v.mu.Lock()
	known := v.seen[name] == id
	v.mu.Unlock()
	if known {
		return nil
	}
	sum := sha256.New()
	for _, f := range files {
		if _, err := io.CopyBuffer(sum, struct{ io.Reader }{archive.ContextReader{Ctx: ctx, R: io.NewSectionReader(f, 0, 1<<62)}}, make([]byte, 1<<20)); err != nil {
			return fmt.Errorf("verify image: %w", err)
		}
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != fingerprint {
		return fmt.Errorf("image %s is damaged: its files hash to %s", fingerprint, got)
	}
	v.set(name, id)
	return nil
}

package archive

import (
	"bufio"
	"compress/bzip2"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Reader is the tar stream of an archive. Close ends whatever feeds it and reports what that found wrong; it is to
// be called after the stream was read to its end, or to give up.
type Reader struct {
	io.Reader
	Format Format
	Size   int64 // bytes of the file
	close  func() error
}

// Close implements io.Closer.
func (r *Reader) Close() error { return r.close() }

// Open gives the tar stream of f, whatever wraps it. f stays the caller's. progress, if set, is called with the
// number of bytes of f read so far.
//
// zstd and bzip2 are read in the process. gzip of 2 MiB and more is read by igzip(1) where there is one, which inflates at more than twice
// the speed of the library in the process; both accept and refuse the same files, with the same errors. xz and lzma are read by xz(1) where there is
// one, because the Go implementation is about ten times slower; squashfs always needs sqfs2tar(1). No program gets the file's name.
func Open(ctx context.Context, f *os.File, progress func(read int64)) (*Reader, error) {
	return open(ctx, f, progress, "")
}

// open is Open for a reader that writes to a file system, as systemOf names it; "": to none.
func open(ctx context.Context, f *os.File, progress func(read int64), to string) (*Reader, error) {
	format, err := DetectFile(f)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	source := io.Reader(io.NewSectionReader(f, 0, info.Size()))
	if progress != nil {
		source = &meter{r: source, report: progress}
	}
	r := &Reader{Format: format, Size: info.Size(), close: func() error { return nil }}
	switch format {
	case Tar:
		r.Reader = source
	case Bzip2:
		err = r.ahead(bzip2.NewReader(bufio.NewReaderSize(source, 1<<20)))
	case Gzip:
		err = r.openGzip(ctx, f, source)
	case Zstd:
		err = r.openZstd(ctx, f, source, to)
	case Xz, Lzma:
		err = r.openXz(ctx, source)
	case Squashfs:
		err = r.openSquashfs(ctx, f, progress)
	default:
		err = fmt.Errorf("%w: %s is not an archive", ErrFormat, format)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s archive: %w", format, err)
	}
	return r, nil
}

func (r *Reader) openXz(ctx context.Context, source io.Reader) error {
	if path, err := exec.LookPath("xz"); err == nil {
		cmd, err := filterCommand(ctx, source, path, "--decompress", "--stdout", "--format="+string(r.Format), "--memlimit-decompress=1GiB", "--quiet")
		if err != nil {
			return err
		}
		return r.tool(cmd)
	}
	buffered := bufio.NewReaderSize(source, 1<<20)
	if r.Format == Xz {
		z, err := xz.ReaderConfig{DictCap: maxWindow}.NewReader(buffered)
		if err != nil {
			return err
		}
		return r.ahead(z)
	}
	z, err := lzma.NewReader(buffered)
	if err != nil {
		return err
	}
	return r.ahead(z)
}

func (r *Reader) openSquashfs(ctx context.Context, f *os.File, progress func(int64)) error {
	path, err := exec.LookPath("sqfs2tar")
	if err != nil {
		return errors.New("sqfs2tar is missing (Debian package squashfs-tools-ng)")
	}
	// The superblock says how long the file must be; the tool would only miss blocks that it happens to read.
	var used [8]byte
	if _, err := f.ReadAt(used[:], 40); err != nil || binary.LittleEndian.Uint64(used[:]) > uint64(r.Size) {
		return refused("archive is cut short")
	}
	if err := readableByAll(f); err != nil {
		return err
	}
	cmd, err := fileCommand(ctx, f, 0, path, fileName)
	if err != nil {
		return err
	}
	if err := r.tool(cmd); err != nil {
		return err
	}
	if progress != nil {
		// The tool reads the file itself: what comes out is all there is to see.
		r.Reader = &meter{r: r.Reader, report: func(n int64) { progress(min(n/3, r.Size)) }}
	}
	return nil
}

// readableByAll lets the tool, which runs as the user nobody, reopen a file that it has as a descriptor. Other users cannot reach the file: the
// folder that it lies in is closed to them.
func readableByAll(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read archive: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o004 == 0 && os.Geteuid() == 0 {
		return f.Chmod(mode | 0o004)
	}
	return nil
}

// ahead decompresses in a goroutine of its own, a few buffers ahead of the reader.
func (r *Reader) ahead(z io.Reader) error {
	pr, pw := newPipe(z)
	r.Reader = pr
	r.close = func() error { pw.stop(); return nil }
	return nil
}

// meter counts what passes.
type meter struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.report(m.n)
	return n, err
}

package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/sandbox"
)

const (
	// igzipFrom is the size of a file from which igzip is worth its process. That costs 6 ms in its sandbox, and the library takes 8 ms
	// for each MiB, igzip 4.
	igzipFrom = 2 << 20
	// igzipPipe is what the pipe from igzip holds. It writes 1 MiB at once: with the kernel's 64 KiB, a tenth longer.
	igzipPipe = 1 << 20
)

// errNoIgzip says that igzip is not installed or did not start.
var errNoIgzip = errors.New("igzip cannot be used")

func (r *Reader) openGzip(ctx context.Context, f *os.File, source io.Reader) error {
	if r.Size >= igzipFrom {
		if err := r.openIgzip(ctx, f, source); !errors.Is(err, errNoIgzip) {
			return err
		}
	}
	z, err := newGzip(source)
	if err != nil {
		return err
	}
	return r.ahead(z)
}

func (r *Reader) openIgzip(ctx context.Context, f *os.File, source io.Reader) error {
	// What the library refuses at once is refused at once: igzip lets pass flags that nobody has defined.
	if _, err := gzip.NewReader(io.NewSectionReader(f, 0, r.Size)); err != nil {
		return err
	}
	z, err := startIgzip(ctx, f, r.Size, source)
	if err != nil {
		if !errors.Is(err, exec.ErrNotFound) {
			slog.Warn("gzip is read at half the speed", "err", err)
		}
		return fmt.Errorf("%w: %w", errNoIgzip, err)
	}
	ahead, p := newPipe(z)
	r.Reader = ahead
	r.close = func() error {
		z.cancel()
		p.stop()
		_ = z.end()
		return nil
	}
	return nil
}

// igzip is a gzip stream that igzip(1) inflates, at more than twice the speed of the library. Its bytes and the error at their
// end are those of the library even so: igzip itself lets anything follow the last member, and says with one exit status
// whatever it found wrong. So it is believed where the file's last eight bytes, the trailer of RFC 1952, are
// the checksum and the length of all that came out. Where they are not, the library reads the file again, compares, and goes on from
// there. Damaged files pay for that, and good ones of several members (bgzip's) or with zeros behind, which take both times. A file made to end in the trailer of
// what came before is not refused for what it has in between; that is no part of what comes out.
type igzip struct {
	ctx    context.Context
	cancel context.CancelFunc
	cmd    *sandbox.Cmd
	file   *os.File
	size   int64
	out    io.Reader

	n    int64 // bytes that came out
	sum  uint32
	over bool      // the process was waited for
	rest io.Reader // the library, once it has taken over
}

// startIgzip inflates f, of size bytes, which source reads.
func startIgzip(ctx context.Context, f *os.File, size int64, source io.Reader) (*igzip, error) {
	path, err := exec.LookPath("igzip")
	if err != nil {
		return nil, err
	}
	z := &igzip{file: f, size: size}
	z.ctx, z.cancel = context.WithCancel(ctx)
	var out io.ReadCloser
	if z.cmd, err = filterCommand(z.ctx, source, path, "--decompress", "--stdout"); err == nil {
		out, err = z.cmd.StdoutPipe()
	}
	if err == nil {
		err = z.cmd.Start()
	}
	if err != nil {
		z.cancel()
		return nil, err
	}
	widen(out)
	z.out = out
	return z, nil
}

// widen makes a pipe hold igzipPipe bytes, where the user may have so much.
func widen(pipe any) {
	if c, ok := pipe.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, igzipPipe) })
		}
	}
}

func (z *igzip) Read(p []byte) (int, error) {
	if z.rest != nil {
		return z.rest.Read(p)
	}
	n, err := z.out.Read(p)
	z.n += int64(n)
	z.sum = crc32.Update(z.sum, crc32.IEEETable, p[:n])
	if err == nil {
		return n, nil
	}
	ended := z.end()
	if err := z.ctx.Err(); err != nil {
		return n, err
	}
	if errors.Is(err, io.EOF) && ended == nil && z.whole() {
		return n, io.EOF
	}
	z.rest, err = z.fallBack()
	return n, err
}

// end waits for the process; only the first call says how it ended.
func (z *igzip) end() error {
	if z.over {
		return nil
	}
	z.over = true
	return z.cmd.Wait()
}

// whole says whether the end of the file is the trailer of what came out.
func (z *igzip) whole() bool {
	var trailer [8]byte
	if _, err := z.file.ReadAt(trailer[:], z.size-int64(len(trailer))); err != nil {
		return false
	}
	return binary.LittleEndian.Uint32(trailer[:4]) == z.sum && binary.LittleEndian.Uint32(trailer[4:]) == uint32(z.n)
}

// fallBack gives the library's reader of the same stream, past what came out already.
func (z *igzip) fallBack() (io.Reader, error) {
	r, err := newGzip(io.NewSectionReader(z.file, 0, z.size))
	if err != nil {
		return nil, err
	}
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, io.LimitReader(ContextReader{z.ctx, r}, z.n))
	if err != nil {
		return nil, err
	}
	if n != z.n || sum.Sum32() != z.sum {
		return nil, errors.New("igzip gives other bytes than the gzip library")
	}
	return r, nil
}

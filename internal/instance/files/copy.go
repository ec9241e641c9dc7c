package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/berthd/berth/api"
)

// bufferSize is large enough for the cost of a system call to vanish and small enough to stay in the cache. It is a
// multiple of what file systems keep together: a file written in whole buffers takes a tenth less time than one written in
// the 214 KiB that a socket holds.
const bufferSize = 512 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Copy copies until the end of from, with buffers that suit files and sockets, or until ctx ends. That the reader was
// cut off is an error of its own: half a file must not look like a whole one.
func Copy(ctx context.Context, to io.Writer, from io.Reader) error {
	return CopyAnnounced(ctx, to, from, func(int64) {})
}

// CopyAnnounced is Copy that says how many bytes there are, before it writes any, if one buffer holds them all.
func CopyAnnounced(ctx context.Context, to io.Writer, from io.Reader, announce func(n int64)) error {
	if from == nil {
		return nil
	}
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := fill(buffer[:], from)
		if first && errors.Is(err, io.EOF) {
			announce(int64(n))
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			return api.BadRequest("the content is cut off: %w", err)
		case err != nil:
			return fmt.Errorf("read the content: %w", err)
		}
	}
}

// fill reads until the buffer is full or from ends; io.ReadFull would hide how it ended.
func fill(buffer []byte, from io.Reader) (n int, err error) {
	for n < len(buffer) && err == nil {
		var some int
		some, err = from.Read(buffer[n:])
		n += some
	}
	return n, err
}

// CopyN copies exactly n bytes; that from ends before is an error.
func CopyN(ctx context.Context, to io.Writer, from io.Reader, n int64) error {
	rest := &io.LimitedReader{R: from, N: n}
	if err := Copy(ctx, to, rest); err != nil {
		return err
	}
	return whole(rest)
}

// Reaches is whether f has content up to size: what stat(2) says of files of /proc and /sys is not what is in them.
func Reaches(f *os.File, size int64) bool {
	n, _ := f.ReadAt(make([]byte, 1), size-1)
	return n == 1
}

// SendN is CopyN by way of to's io.ReaderFrom, which may leave it to the kernel.
func SendN(to io.Writer, f *os.File, n int64) error {
	rest := &io.LimitedReader{R: f, N: n}
	if _, err := io.Copy(to, rest); err != nil {
		return err
	}
	return whole(rest)
}

func whole(rest *io.LimitedReader) error {
	if rest.N > 0 {
		return fmt.Errorf("the file became shorter: %w", io.ErrUnexpectedEOF)
	}
	return nil
}

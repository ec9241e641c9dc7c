package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/berthd/berth/internal/subvolume"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"
)

// Windows of zstd: what of a stream a reader holds in memory, in bytes.
const (
	// maxWindow bounds the memory that a compressed stream can ask for.
	maxWindow = 256 << 20
	// smallWindow is what every reader is recommended to hold (RFC 8878, section 3.1.1.1.2); zstd(1) asks for more only with --ultra or --long.
	smallWindow = 8 << 20
)

// What all larger windows may have, each of which takes twice as much memory: as much as one may ask for what is written to one file system, however many
// archives are read at once, and twice as much for all together. Who holds a part of it reads a file of this machine into a folder of it and waits for no
// client, but for a disk that may hang: that keeps no other disk waiting.
var (
	windows   = semaphore.NewWeighted(2 * maxWindow)
	windowsMu sync.Mutex
	windowsOf = map[string]*share{} // by file system: see systemOf
)

// share is what may be held by who writes to one file system. It is there as long as somebody has a part of it, or waits for one.
type share struct {
	*semaphore.Weighted
	users int
}

func shareOf(system string) *share {
	windowsMu.Lock()
	defer windowsMu.Unlock()
	own := windowsOf[system]
	if own == nil {
		own = &share{Weighted: semaphore.NewWeighted(maxWindow)}
		windowsOf[system] = own
	}
	own.users++
	return own
}

func (own *share) leave(system string) {
	windowsMu.Lock()
	defer windowsMu.Unlock()
	if own.users--; own.users == 0 {
		delete(windowsOf, system)
	}
}

// systemOf names the file system that a folder is on. A device number does not on btrfs, where each subvolume has one of its own.
func systemOf(dir string) (string, error) {
	if id, err := subvolume.System(dir); err == nil {
		return "btrfs " + id, nil
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("unpack archive: %w", err)
	}
	return fmt.Sprintf("device %d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)), nil
}

// windowPatience is how long an archive waits for others with large windows.
const windowPatience = time.Minute

// ErrBusy says that others read archives that take as much memory as may be taken.
var ErrBusy = errors.New("other archives are read that take as much memory as may be taken")

// takeWindow waits until a window may be held by who writes to a file system. release gives it back.
func takeWindow(ctx context.Context, window int64, to string) (release func(), err error) {
	own := shareOf(to)
	defer func() {
		if err != nil {
			own.leave(to)
		}
	}()
	wait, cancel := context.WithTimeoutCause(ctx, windowPatience, ErrBusy)
	defer cancel()
	if err := own.Acquire(wait, window); err != nil {
		return nil, context.Cause(wait)
	}
	if err := windows.Acquire(wait, window); err != nil {
		own.Release(window)
		return nil, context.Cause(wait)
	}
	return func() {
		debug.FreeOSMemory() // whoever waits takes as much again
		windows.Release(window)
		own.Release(window)
		own.leave(to)
	}, nil
}

// openZstd reads zstd in the process. The first frame says how large a window the stream has; later ones must do with that.
func (r *Reader) openZstd(ctx context.Context, f *os.File, source io.Reader, to string) error {
	window, err := windowOf(f)
	if err != nil {
		return err
	}
	if window > maxWindow {
		return overLimit("a window of more than %d bytes", maxWindow)
	}
	release := func() {}
	if window > smallWindow {
		if release, err = takeWindow(ctx, window, to); err != nil {
			return err
		}
	}
	// With twice the window the library moves what it holds once for each window of output. With little more than one, which it takes by itself, it
	// does so for each block: a few kilobytes of archive then took minutes.
	z, err := zstd.NewReader(source, zstd.WithDecoderMaxWindow(uint64(max(window, smallWindow))), zstd.WithDecoderLowmem(false))
	if err != nil {
		release()
		return err
	}
	r.Reader = z
	var once sync.Once
	r.close = func() error {
		once.Do(func() { z.Close(); release() })
		return nil
	}
	return nil
}

// windowOf reads the window of a file's first frame. What is cut short or damaged is for the decoder to say.
func windowOf(f *os.File) (int64, error) {
	head := make([]byte, zstd.HeaderMaxSize)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("read archive: %w", err)
	}
	var h zstd.Header
	if h.Decode(head[:n]) != nil {
		return 0, nil
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	return int64(min(window, maxWindow+1)), nil
}

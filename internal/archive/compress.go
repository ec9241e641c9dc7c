package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/sandbox"
)

// Compression is how Compress wraps a tar stream.
type Compression struct {
	Format Format // Tar is none at all
	Level  int    // 0 is the format's own default
	args   []string
}

var levelFlag = regexp.MustCompile(`^-([1-9]|1[0-9])$`)

// ParseCompression reads LXD's notation: an algorithm (none, gzip, bzip2, xz, lzma, zstd, squashfs), after it flags such as
// "-9" and "--rsyncable". Anything else is refused: these words come from outside and become arguments of a program.
func ParseCompression(value string) (Compression, error) {
	words := strings.Fields(value)
	if len(words) == 0 {
		return Compression{}, errors.New("empty compression algorithm")
	}
	formats := map[string]Format{"none": Tar, "gzip": Gzip, "pigz": Gzip, "bzip2": Bzip2, "xz": Xz, "lzma": Lzma, "zstd": Zstd, "squashfs": Squashfs}
	format, ok := formats[words[0]]
	if !ok {
		return Compression{}, fmt.Errorf("compression algorithm %q is not one of none, gzip, bzip2, xz, lzma, zstd, squashfs", words[0])
	}
	c := Compression{Format: format}
	for _, word := range words[1:] {
		switch {
		case format != Squashfs && format != Tar && levelFlag.MatchString(word):
			c.Level, _ = strconv.Atoi(word[1:])
			if c.Level > 9 && format != Zstd {
				return Compression{}, fmt.Errorf("level %d is too high for %s", c.Level, words[0])
			}
		case word == "--rsyncable" && (format == Gzip || format == Zstd):
			c.args = append(c.args, word)
		default:
			return Compression{}, fmt.Errorf("compression option %q is not allowed for %s", word, words[0])
		}
	}
	return c, nil
}

// ACLs tells whether the format holds POSIX ACLs. squashfs knows three kinds of extended attributes (user, trusted, security), and ACLs are of none.
func (c Compression) ACLs() bool { return c.Format != Squashfs }

// Compress gives a writer that wraps a tar stream into out. Close must be called; it flushes, waits, and leaves
// out open. For squashfs, out must be empty. room, if not nil, bounds what is written.
func (c Compression) Compress(ctx context.Context, file *os.File, room *diskspace.Room) (io.WriteCloser, error) {
	var out io.Writer = file
	if room != nil {
		out = diskspace.Writer{W: file, Room: room}
	}
	if len(c.args) == 0 {
		switch c.Format {
		case Tar:
			return nopCloser{out}, nil
		case Gzip:
			level := c.Level
			if level == 0 {
				level = gzip.DefaultCompression
			}
			return gzip.NewWriterLevel(out, level)
		case Zstd:
			return zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(max(c.Level, 3))))
		}
	}
	name, args := string(c.Format), append([]string{"--stdout"}, c.args...)
	switch c.Format {
	case Squashfs:
		name, args = "tar2sqfs", []string{"--no-skip", "--force", "--quiet", fileName}
	case Lzma:
		name, args = "xz", append(args, "--format=lzma")
	case Xz:
		args = append(args, "--threads=0", "--memlimit-compress=1GiB")
	}
	if c.Level > 0 {
		args = append(args, "-"+strconv.Itoa(c.Level))
	}
	return startFilter(ctx, file, room, name, args)
}

// Finish closes the writer of Compress after what was written to it ended with err, and returns the error that says why: a tool that ended early does,
// the write that found it gone does not.
func Finish(w io.Closer, err error) error {
	if closeErr := w.Close(); err == nil || closeErr != nil && errors.Is(err, syscall.EPIPE) {
		return closeErr
	}
	return err
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// filter is a program that wraps what is written to it.
type filter struct {
	io.WriteCloser
	cmd  *sandbox.Cmd
	said sandbox.Complaint
	back func() error // gives the file back to its owner
}

// startFilter runs a program that writes to out, which may grow to what there is room for now.
func startFilter(ctx context.Context, out *os.File, room *diskspace.Room, name string, args []string) (io.WriteCloser, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	left := int64(math.MaxInt64)
	if room != nil {
		if left, err = room.Left(); err != nil {
			return nil, err
		}
	}
	f := &filter{back: func() error { return nil }}
	if f.cmd, err = fileCommand(ctx, out, left, path, args...); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if f.WriteCloser, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	f.cmd.Stderr = &f.said
	if name == "tar2sqfs" {
		if f.back, err = lend(out); err != nil {
			return nil, err
		}
	} else {
		f.cmd.Stdout = out
	}
	if err := f.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("compress: %w", err), f.back())
	}
	return f, nil
}

// lend makes the user nobody the owner of a file, for a tool that opens it by itself.
func lend(out *os.File) (back func() error, err error) {
	back = func() error { return nil }
	if os.Geteuid() != 0 {
		return back, nil
	}
	if err := out.Chown(sandbox.Nobody, sandbox.Nobody); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return func() error { return out.Chown(0, 0) }, nil
}

func (f *filter) Close() error {
	err := f.WriteCloser.Close()
	if waitErr := f.cmd.Wait(); waitErr != nil {
		err = f.failure(waitErr)
	}
	return errors.Join(err, f.back())
}

// failure says what ended the program; the kernel's answer to more output than it may write is a signal.
func (f *filter) failure(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGXFSZ {
			return fmt.Errorf("compress: %w: what it writes does not fit", syscall.ENOSPC)
		}
	}
	return fmt.Errorf("compress: %w: %s", err, &f.said)
}

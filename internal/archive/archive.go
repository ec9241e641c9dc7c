// Package archive unpacks and packs the archives that images, backups and published instances travel in: tar, plain
// or compressed, and squashfs.
//
// # What Unpack promises
//
// The archive is hostile until proven otherwise. Every path is opened beneath the destination with openat2, which
// refuses ".." and every symbolic link on the way, so that no entry, in whatever order, leads
// outside. Where a name comes twice the last member counts, as tar has it, but only one of the same type: nothing made ever changes its type. Of device
// nodes only those that every container has anyway are made; others are left out, and counted, and so are attributes that the file system cannot hold. What is made is held to the room that there is, in blocks and
// inodes: however much an archive grows, it ends when there is no more. When Unpack fails, for any reason, the destination is as empty as it was before.
//
// Owner, mode, times, hard links, holes and the extended attributes that belong to a file's meaning (capabilities, POSIX
// ACLs, user.*) are kept. Directories get their mode and times last.
package archive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/berthd/berth/internal/treecopy"
)

// ErrRefused is wrapped by every error that means "this archive asks for what no honest one does".
var ErrRefused = errors.New("archive refused")

// ErrLimit is wrapped when an archive is larger than allowed; it is also an ErrRefused.
var ErrLimit = fmt.Errorf("%w: over the limit", ErrRefused)

// ErrFormat is returned for a file that is no archive we know.
var ErrFormat = errors.New("unknown archive format")

// Format is how an archive is wrapped.
type Format string

// Formats. Each but Squashfs wraps a tar stream.
const (
	Tar      Format = "tar"
	Gzip     Format = "gzip"
	Bzip2    Format = "bzip2"
	Xz       Format = "xz"
	Lzma     Format = "lzma"
	Zstd     Format = "zstd"
	Squashfs Format = "squashfs"
	Qcow2    Format = "qcow2" // a disk, not an archive: recognised so that it can be said
)

// Extension is the file name ending that clients expect, with its dot.
func (f Format) Extension() string {
	switch f {
	case Gzip:
		return ".tar.gz"
	case Bzip2:
		return ".tar.bz2"
	case Xz:
		return ".tar.xz"
	case Lzma:
		return ".tar.lzma"
	case Zstd:
		return ".tar.zst"
	case Squashfs:
		return ".squashfs"
	case Qcow2:
		return ".qcow2"
	default:
		return ".tar"
	}
}

var magics = []struct {
	format Format
	offset int
	bytes  string
}{
	{Gzip, 0, "\x1f\x8b"},
	{Bzip2, 0, "BZh"},
	{Xz, 0, "\xfd7zXZ\x00"},
	{Lzma, 0, "\x5d\x00\x00"},
	{Zstd, 0, "\x28\xb5\x2f\xfd"},
	{Squashfs, 0, "hsqs"},
	{Qcow2, 0, "QFI\xfb"},
	{Tar, 257, "ustar"},
}

// Detect tells the format from the first 512 bytes of a file, or ErrFormat.
func Detect(head []byte) (Format, error) {
	for _, m := range magics {
		if len(head) >= m.offset && bytes.HasPrefix(head[m.offset:], []byte(m.bytes)) {
			return m.format, nil
		}
	}
	return "", ErrFormat
}

// DetectFile is Detect on the beginning of f; it does not move f's offset.
func DetectFile(f *os.File) (Format, error) {
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read archive: %w", err)
	}
	return Detect(head[:n])
}

// Bounds on time and memory, for archives that need neither space nor inodes. They are far above any honest image.
const (
	maxContent = 4 << 40   // bytes of all files together: holes take no space, but must be read; /var/log/lastlog alone can have 1.2 TB of them
	maxStream  = 8 << 40   // bytes of the tar stream
	maxLate    = 256 << 20 // bytes that directories take in memory until the end
	maxName    = 64 << 10  // bytes of a name; the kernel opens no more than PATH_MAX at once, but makes deeper trees
	maxDepth   = treecopy.MaxDepth
)

func refused(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRefused, fmt.Errorf(format, args...))
}

func overLimit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLimit, fmt.Sprintf(format, args...))
}

package archive

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
)

// writeAll copies size bytes of r to fd, as far as there is room. In large files, blocks of zeros become holes.
func writeAll(fd int, r io.Reader, size int64, buf []byte, room *diskspace.Room) error {
	const block, large = 4096, 1 << 20
	var offset int64
	hole := false
	for offset < size {
		n, err := fill(r, buf[:min(int64(len(buf)), size-offset)])
		data := buf[:n]
		for len(data) > 0 {
			end := len(data)
			if size >= large {
				zero := isZero(data[:min(block, len(data))])
				for end = min(block, len(data)); end < len(data); end = min(end+block, len(data)) {
					if isZero(data[end:min(end+block, len(data))]) != zero {
						break
					}
				}
				if zero {
					offset, data, hole = offset+int64(end), data[end:], true
					continue
				}
			}
			if err := room.Take(diskspace.Blocks(int64(end))); err != nil {
				return err
			}
			written, err := pwrite(fd, data[:end], offset)
			if err != nil {
				return fmt.Errorf("write: %w", err)
			}
			offset, data, hole = offset+int64(written), data[written:], false
		}
		if errors.Is(err, io.EOF) && offset < size {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && offset < size {
			return tarError(err)
		}
	}
	if hole {
		return unix.Ftruncate(fd, size)
	}
	return nil
}

func pwrite(fd int, data []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pwrite(fd, data, offset)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

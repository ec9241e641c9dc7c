package dir

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// A pool's folders look like any other pool's: the disk that is at its source may be a wrong one. So the source bears the pool's UUID, in an
// attribute, or in a file where none are kept. The attribute is not that of volumes: a source may be a volume of a host's daemon.
const (
	poolMark = "trusted.berth.pool"
	poolFile = ".berth-pool"
	markSize = 64 // a UUID has 36
)

func (d *Dir) poolFile() string { return filepath.Join(d.source, poolFile) }

// readPoolMark returns the UUID at the source, and a command that removes it; "" if there is none.
func (d *Dir) readPoolMark() (uuid, removal string, err error) {
	buf := make([]byte, markSize)
	n, err := unix.Getxattr(d.source, poolMark, buf)
	switch {
	case err == nil && n > 0:
		return string(buf[:n]), fmt.Sprintf("setfattr -x %s %s", poolMark, d.source), nil
	case err != nil && !errors.Is(err, unix.ENODATA) && !cannotMark(err):
		return "", "", fmt.Errorf("identity of the pool at %s: %w", d.source, err)
	}
	f, err := os.OpenFile(d.poolFile(), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("identity of the pool: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, markSize))
	if err != nil {
		return "", "", fmt.Errorf("identity of the pool: %w", err)
	}
	return strings.TrimSpace(string(text)), "rm " + d.poolFile(), nil
}

// poolMarked tells whether the source bears the pool's UUID. It fails with ErrOther if it bears another's.
func (d *Dir) poolMarked() (bool, error) {
	if d.uuid == "" {
		return false, nil
	}
	uuid, removal, err := d.readPoolMark()
	if err == nil && uuid != "" && uuid != d.uuid {
		err = fmt.Errorf("%s %w (%s, not %s): is the right disk mounted? If it is the right one, as after its store was restored, %q lets it be taken",
			d.source, storagedriver.ErrOther, uuid, d.uuid, removal)
	}
	return uuid == d.uuid, err
}

// markPool leaves the pool's UUID at the source.
func (d *Dir) markPool() error {
	if marked, err := d.poolMarked(); marked || err != nil || d.uuid == "" {
		return err
	}
	return d.writePoolMark()
}

func (d *Dir) writePoolMark() error {
	err := unix.Setxattr(d.source, poolMark, []byte(d.uuid), 0)
	if cannotMark(err) {
		var f *os.File
		if f, err = os.OpenFile(d.poolFile(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, 0o600); err == nil {
			_, err = f.WriteString(d.uuid + "\n")
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return fmt.Errorf("identity of the pool at %s: %w", d.source, err)
	}
	return nil
}

// markMounted is markPool for a pool that is there: one that an earlier version has made is marked when its disk takes that.
func (d *Dir) markMounted() error {
	marked, err := d.poolMarked()
	if marked || err != nil || d.uuid == "" {
		return err
	}
	if err := d.writePoolMark(); err != nil {
		slog.Warn("A storage pool keeps no identity yet: its disk cannot be told from another", "pool", d.root, "err", err)
	}
	return nil
}

// unmarkPool removes the UUID, whosever it is. The source holds nothing of a pool.
func (d *Dir) unmarkPool() error {
	if d.uuid == "" {
		return nil
	}
	err := unix.Removexattr(d.source, poolMark)
	if errors.Is(err, unix.ENODATA) || errors.Is(err, os.ErrNotExist) || cannotMark(err) {
		err = nil
	}
	if err == nil && !gone(d.poolFile()) {
		err = os.Remove(d.poolFile())
	}
	if err != nil {
		return fmt.Errorf("identity of the pool at %s: %w", d.source, err)
	}
	return nil
}

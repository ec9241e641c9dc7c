package dir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// The attributes that hold a volume's and a snapshot's UUID, on its top folder. Only root of the host sees or changes
// those of the class "trusted". A snapshot has one of its own, so that it can be put on the volume just before a frozen
// clone is made of it, to which nothing can be added any more.
const (
	volumeMark   = "trusted.berth.uuid"
	snapshotMark = "trusted.berth.snapshot"
)

func markOf(v storagedriver.Volume) string {
	if v.Snapshot != "" {
		return snapshotMark
	}
	return volumeMark
}

// mark writes v's UUID on a folder.
func mark(path string, v storagedriver.Volume) error {
	if v.UUID == "" {
		// What a copy brought along is not its own.
		err := unix.Removexattr(path, markOf(v))
		if err == nil || errors.Is(err, unix.ENODATA) || cannotMark(err) {
			return nil
		}
		return fmt.Errorf("identity of %s: %w", v, err)
	}
	err := unix.Setxattr(path, markOf(v), []byte(v.UUID), 0)
	if cannotMark(err) {
		slog.Warn("The pool keeps no identities; what a failed call leaves must be removed by hand", "volume", v.String(), "err", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("identity of %s: %w", v, err)
	}
	return nil
}

// cannotMark tells whether an attribute cannot be kept here at all: the file system has none, or this daemon is in a container, where root
// has no say in the class "trusted".
func cannotMark(err error) bool { return errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) }

// readMark returns the UUID on a folder; "" if there is none.
func readMark(path string, v storagedriver.Volume) (string, error) {
	buf := make([]byte, 64)
	n, err := unix.Getxattr(path, markOf(v), buf)
	switch {
	case err == nil:
		return string(buf[:n]), nil
	case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ENOTSUP), errors.Is(err, unix.ERANGE):
		return "", nil
	}
	return "", err
}

// ClaimVolume implements storagedriver.Volumes.
func (d *Dir) ClaimVolume(_ context.Context, v storagedriver.Volume) error {
	path := d.Path(v)
	if err := mine(path, v); !errors.Is(err, storagedriver.ErrUnmarked) {
		return err
	}
	return mark(path, v)
}

// mine fails unless what stands at path is v, or there is nothing.
func mine(path string, v storagedriver.Volume) error {
	if v.UUID == "" {
		return nil
	}
	uuid, err := readMark(path, v)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case err != nil:
		return fmt.Errorf("identity of %s: %w", v, err)
	case uuid == "":
		return fmt.Errorf("%s: %w", v, storagedriver.ErrUnmarked)
	case uuid != v.UUID:
		return fmt.Errorf("%s: %w", v, storagedriver.ErrForeign)
	}
	return nil
}

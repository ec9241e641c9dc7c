package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/durable"
)

// Backup writes a consistent copy of the open store to path, which it replaces whole or not at all. Commits go on.
func (b *Bolt) Backup(path string) error {
	return guarded(func() error { return backupDB(b.db, path) })
}

func backupDB(db *bolt.DB, path string) error {
	return durable.WriteFile(path, 0o600, func(f *os.File) error {
		return boltError(db.View(func(tx *bolt.Tx) error {
			_, err := tx.WriteTo(f)
			return err
		}))
	})
}

// BackupFile writes a checked copy of the store at path to target. The store may be in use.
func BackupFile(path, target string) error {
	err := durable.WriteFile(target, 0o600, func(f *os.File) error {
		if err := copyConsistent(path, f); err != nil {
			return err
		}
		_, err := checkReadOnly(f.Name())
		return err
	})
	if err != nil {
		return fmt.Errorf("back up store %s: %w", path, err)
	}
	return nil
}

// RestoreFile puts a backup in the place of the store at path, which nobody may be using. The backup is checked
// first; the store that was there is kept as "<path>.before-restore".
func RestoreFile(backup, path string) error {
	if err := restoreFile(backup, path); err != nil {
		return fmt.Errorf("restore store %s from %s: %w", path, backup, err)
	}
	return nil
}

func restoreFile(backup, path string) error {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	defer lock.release()
	fresh := path + ".restore"
	err = durable.WriteFile(fresh, 0o600, func(f *os.File) error {
		if err := copyConsistent(backup, f); err != nil {
			return err
		}
		report, err := checkReadOnly(f.Name())
		if err == nil && report.Schema > SchemaVersion {
			err = fmt.Errorf("%w: it has schema %d, this program knows up to %d", ErrNewer, report.Schema, SchemaVersion)
		}
		return err
	})
	if err != nil {
		return err
	}
	// A link keeps the old store without an instant in which there is none.
	old := path + ".before-restore"
	if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(path, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return durable.Rename(fresh, path)
}

// errMoving is that a store is being written faster than it can be copied.
var errMoving = errors.New("the store is being written to without a pause")

// copyConsistent copies a store that another process may be writing to. A commit writes to pages that nothing refers
// to, and only then to a meta page: a copy during which neither meta page changed holds the state they stand for.
func copyConsistent(path string, to *os.File) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	for attempt := range 100 {
		if attempt > 0 {
			// lint:allow no-wait-by-sleep: the writer is another process, which gives no sign when it pauses
			time.Sleep(time.Duration(attempt) * time.Millisecond)
		}
		before, err := readMeta(from)
		if err != nil {
			return err
		}
		if _, err := to.Seek(0, io.SeekStart); err != nil {
			return err
		}
		size := before.high * before.pageSize
		n, err := io.Copy(to, io.NewSectionReader(from, 0, size))
		if err != nil {
			return err
		}
		if n < size {
			return fmt.Errorf("%w: the file is cut off: %d bytes of at least %d", ErrCorrupt, n, size)
		}
		after, err := readMeta(from)
		if err == nil && after == before {
			return to.Truncate(size)
		}
	}
	return errMoving
}

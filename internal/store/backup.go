package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/berthd/berth/internal/durable"
	"github.com/berthd/berth/internal/outfile"
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

// BackupFile writes a checked copy of the store at path to target, which may be a device or a pipe. The store may be in use.
func BackupFile(path, target string) error {
	if err := backupFile(path, target); err != nil {
		return fmt.Errorf("back up store %s: %w", path, err)
	}
	return nil
}

func backupFile(path, target string) error {
	if same, err := sameFile(path, target); err != nil {
		return err
	} else if same {
		return fmt.Errorf("%s is the store itself", target)
	}
	return outfile.WriteFile(target, 0o600, func(f *outfile.File) error {
		if f.InPlace() { // where nothing can be read again
			return withCopy(path, func(copied string) error { return sendChecked(copied, f) })
		}
		if err := copyConsistent(path, f.File); err != nil {
			return err
		}
		_, err := checkReadOnly(f.Name())
		return err
	})
}

func sendChecked(path string, to io.Writer) error {
	if _, err := checkReadOnly(path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(to, f)
	return err
}

func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(infoA, infoB), err
}

// RestoreFile puts a backup in the place of the store at path, or that a link there leads to, which nobody may be using. The backup is checked
// first; the store that was there is kept as "<path>.before-restore".
func RestoreFile(backup, path string) error {
	if err := restoreFile(backup, path); err != nil {
		return fmt.Errorf("restore store %s from %s: %w", path, backup, err)
	}
	return nil
}

func restoreFile(backup, path string) error {
	names, err := namesOf(path)
	if err != nil {
		return err
	}
	for _, name := range names {
		lock, err := lockFile(name + ".lock")
		if err != nil {
			return err
		}
		defer lock.release()
	}
	return replace(backup, names[len(names)-1])
}

// namesOf are the names by which a daemon may have locked the store at path: that one, and, if it is a link, the file's own, which is the last.
func namesOf(path string) ([]string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{path}, nil
	}
	if err != nil {
		return nil, err
	}
	names := []string{path}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, err
		}
		if info, err = os.Lstat(target); err != nil {
			return nil, err
		}
		names = append(names, target)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	return names, nil
}

func replace(backup, path string) error {
	fresh := path + ".restore"
	err := durable.WriteFile(fresh, 0o600, func(f *os.File) error {
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

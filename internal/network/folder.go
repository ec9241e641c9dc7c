package network

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ownerFile says in a network's folder which network that is, by its UUID. It is the first to be written there and the
// last to go.
const ownerFile = "uuid"

// claimFolder makes the folder of a new network. What lies there already was not made by this call, and may be all that is
// left of something; only an empty folder is taken.
func claimFolder(dir, id string) error {
	if err := os.Mkdir(dir, 0o711); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("Folder %q exists and does not belong to this network: move it away first", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, ownerFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(id + "\n")
	return errors.Join(err, f.Close())
}

// adoptFolder writes the UUID of a network in the store into its folder, which may be missing, or date from before networks had
// UUIDs.
func adoptFolder(dir, id string) error {
	if owner, err := folderOwner(dir); err == nil && owner == id {
		return nil
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ownerFile), []byte(id+"\n"), 0o644)
}

func folderOwner(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, ownerFile))
	return strings.TrimSpace(string(data)), err
}

// ownsFolder tells whether a folder is that of a network. One that is empty, or holds but a mark that was not written whole,
// is what a creation that was cut off leaves.
func ownsFolder(dir, id string) (bool, error) {
	owner, err := folderOwner(dir)
	if err == nil && owner != "" {
		return owner == id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == ownerFile), err
}

// removeFolder removes a folder. The owner's file goes last, so that a removal that was cut off can be finished.
func removeFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == ownerFile {
			continue
		}
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(dir)
}

// moveFolder gives a folder another name, which must be free.
func moveFolder(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("Folder %q exists and does not belong to this network: move it away first", to)
	case errors.Is(err, unix.EINVAL): // a file system without it
		return os.Rename(from, to)
	case err != nil:
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// Package durable makes files survive a power failure.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Rename puts a file whose content was synced in the place of another.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return Dir(filepath.Dir(to))
}

// File is a temporary file beside another, whose place it takes when it is told to. Until then the other is as it was.
type File struct {
	*os.File
	path string
}

// Create begins a file that is to be path, with a mode from which the umask is taken.
func Create(path string, mode fs.FileMode) (*File, error) {
	for {
		// The name does not grow with that of the file, which may be as long as one can be.
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".berth-%08x.tmp", rand.Uint32()))
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		busy(f)
		return &File{f, path}, nil
	}
}

// Commit has the disk hold the file and puts it where it belongs. After an error Discard is still to be called.
func (f *File) Commit() error {
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil { // first, as Windows renames nothing that is open
		return err
	}
	return Rename(f.Name(), f.path)
}

// Discard removes a file that has not taken its place.
func (f *File) Discard() {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// WriteFile makes a file, or replaces it, whole or not at all, by way of a temporary one beside it, which is what write gets. What a kill
// leaves of it Sweep removes.
func WriteFile(path string, mode fs.FileMode, write func(f *os.File) error) (err error) {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Discard()
		}
	}()
	if err := f.Chmod(mode); err != nil { // whatever the umask is
		return err
	}
	if err := write(f.File); err != nil {
		return err
	}
	return f.Commit()
}

// Sweep removes what was being written in the folder of a file when its writer was killed, by this version or, of this file and of those
// beside it that are named path and a dot and more, by an earlier one. What is being written stays. The folder is the daemon's own.
func Sweep(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all error
	for _, e := range entries {
		if e.Type().IsRegular() && isTemporary(e.Name(), filepath.Base(path)) {
			all = errors.Join(all, removeIdle(filepath.Join(filepath.Dir(path), e.Name())))
		}
	}
	return all
}

// isTemporary tells whether a name is one that Create gives, or one that an earlier version gave for what is called base, or base and a dot
// and more.
func isTemporary(name, base string) bool {
	if number, ok := strings.CutPrefix(name, ".berth-"); ok {
		number, ok = strings.CutSuffix(number, ".tmp")
		return ok && len(number) == 8 && strings.Trim(number, "0123456789abcdef") == ""
	}
	n := strings.LastIndex(name, ".tmp")
	if n < 0 {
		return false
	}
	of, number := name[:n], name[n+len(".tmp"):]
	return (of == base || strings.HasPrefix(of, base+".")) && number != "" && strings.Trim(number, "0123456789") == ""
}

func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Package outfile writes to what a user names: a file whole or not at all, also where a link leads to it, and a device or a pipe as it comes.
package outfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/berthd/berth/internal/durable"
)

// File is what is being written. Commit ends it well, Discard after an error; a second Discard, and one after Commit, does nothing.
type File struct {
	*os.File
	target string
	fresh  *durable.File // what is to take the target's place; nil where the target itself is written to
	ended  bool
}

// Create opens what path names. A file is replaced when the new one is whole, and keeps its mode and owner; one that is not there gets
// mode less the umask. What is no file stays what it is. A folder is an error.
func Create(path string, mode fs.FileMode) (*File, error) {
	// The kernel is asked first whether the links may be followed: in a folder such as /tmp those of others may not.
	before, err := os.Stat(path)
	switch {
	case err == nil && before.IsDir():
		return nil, &fs.PathError{Op: "write", Path: path, Err: errors.New("is a directory")}
	case err == nil && !before.Mode().IsRegular():
		return inPlace(path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	target, named := follow(path)
	if !named {
		return inPlace(path)
	}
	return beside(path, target, mode, before)
}

// beside begins the file that takes the target's place, which was before unless that is nil.
func beside(path, target string, mode fs.FileMode, before fs.FileInfo) (*File, error) {
	if before != nil {
		// Whoever may not write to the file may not replace it either.
		may, err := os.OpenFile(target, os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		_ = may.Close()
	}
	fresh, err := durable.Create(target, mode)
	if before != nil && (errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)) {
		return inPlace(path) // its folder takes nothing new
	}
	if err != nil {
		return nil, &fs.PathError{Op: "write", Path: path, Err: cause(err)}
	}
	f := &File{File: fresh.File, target: target, fresh: fresh}
	if before != nil {
		if err := keep(f.File, before); err != nil {
			f.Discard()
			return nil, err
		}
	}
	return f, nil
}

// cause is an error without the name of a temporary file, which says nothing to anybody.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

func inPlace(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return nil, err
	}
	return &File{File: f, target: path}, nil
}

// maxLinks is how many links are followed to a file, as many as Linux follows.
const maxLinks = 40

// follow is where the links lead that path names, whether or not there is something yet. Those below /dev and /proc, such as /dev/stdout, lead to
// open files, which need not have a name.
func follow(path string) (target string, named bool) {
	for range maxLinks {
		to, err := os.Readlink(path)
		if err != nil {
			return path, true
		}
		if strings.HasPrefix(path, "/dev/") || strings.HasPrefix(path, "/proc/") {
			return path, false
		}
		if !filepath.IsAbs(to) {
			// Not joined by filepath.Join: where ".." leads is for the folder's own links to say.
			to = filepath.Dir(path) + string(filepath.Separator) + to
		}
		path = to
	}
	return path, true
}

// InPlace tells that a device or a pipe is written to: it can be neither read nor sought, and what was written stays.
func (f *File) InPlace() bool { return f.fresh == nil }

// Commit has all of it written and puts a file in its place.
func (f *File) Commit() error {
	defer f.Discard()
	if f.fresh == nil {
		return errors.Join(synced(f.Sync()), f.Close())
	}
	err := f.fresh.Commit()
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrPermission) {
		// A file that is a mount point, as containers have them, and one of another user in a folder such as /tmp cannot be replaced.
		if into := overwrite(f.Name(), f.target); !errors.Is(into, fs.ErrNotExist) {
			return into
		}
	}
	if err != nil && synced(err) == nil {
		_ = f.Close()
		if err = os.Rename(f.Name(), f.target); errors.Is(err, fs.ErrNotExist) {
			err = nil // it was the folder that could not be synced: the file is where it belongs
		}
	}
	return err
}

// synced takes no error of what has nothing to sync: a pipe, a character device, files and folders of some file systems.
func synced(err error) error {
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

func overwrite(path, target string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(target, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close())
}

// Discard leaves a file as it was.
func (f *File) Discard() {
	switch {
	case f.ended:
	case f.fresh != nil:
		f.fresh.Discard()
	default:
		_ = f.Close()
	}
	f.ended = true
}

// WriteFile writes to what path names; see Create and File.
func WriteFile(path string, mode fs.FileMode, write func(f *File) error) error {
	f, err := Create(path, mode)
	if err != nil {
		return err
	}
	defer f.Discard()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

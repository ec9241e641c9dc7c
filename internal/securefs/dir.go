package securefs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Dir is a directory that is read a part at a time, however many names a guest has put there.
type Dir struct{ f *os.File }

// Entry is an object in a directory.
type Entry struct {
	Name string
	Info
}

// OpenDir opens a directory for reading, links followed.
func (r *Root) OpenDir(name string) (*Dir, error) {
	fd, err := r.openat(name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, wrap("opendir", name, err)
	}
	d := &Dir{os.NewFile(uintptr(fd), name)}
	if err := r.allow(fd, mayRead); err != nil {
		return nil, wrap("opendir", name, errors.Join(err, d.Close()))
	}
	return d, nil
}

// Close lets go of the directory.
func (d *Dir) Close() error { return d.f.Close() }

// Next returns the next entries, n at most, and io.EOF when there are none left. What goes while it is read is left out.
func (d *Dir) Next(n int) ([]Entry, error) {
	for {
		names, err := d.f.Readdirnames(n)
		if err != nil {
			return nil, err
		}
		entries := make([]Entry, 0, len(names))
		for _, name := range names {
			var st unix.Stat_t
			if unix.Fstatat(int(d.f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW) == nil {
				entries = append(entries, Entry{name, infoOf(&st)})
			}
		}
		if len(entries) > 0 {
			return entries, nil
		}
	}
}

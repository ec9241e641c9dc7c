package securefs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Beneath finds the folder, of some of the host, that a path is in or is itself, and the rest of the path within. Of several it is the
// outermost: what is further in may be a link by now that somebody has made who writes to the outer one. Paths are compared as they are
// written, once ".." has been worked in.
func Beneath(folders []string, name string) (folder, rest string, ok bool) {
	if !path.IsAbs(name) {
		return "", "", false
	}
	name = path.Clean(name)
	for _, f := range folders {
		if !path.IsAbs(f) {
			continue
		}
		f = path.Clean(f)
		if ok && len(f) >= len(folder) {
			continue
		}
		if within, found := strings.CutPrefix(name+"/", strings.TrimRight(f, "/")+"/"); found {
			folder, rest, ok = f, path.Clean("./"+within), true
		}
	}
	return folder, rest, ok
}

// ErrOutside is that of a path on which a link leads out of its folder.
var ErrOutside = errors.New("leads out of the folder")

// tries is how often the kernel is asked that cannot tell whether a path leads out, as somebody renames things on it.
const tries = 100

// OpenBeneath opens what is at a path within a folder of the host, without reading it (O_PATH). Links on the way are followed as long as they
// lead nowhere else (ErrOutside, whatever is there); those of the folder itself are not looked at.
func OpenBeneath(folder, rest string) (*os.File, error) {
	dir, err := retry(func() (int, error) { return unix.Open(folder, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: folder, Err: err}
	}
	defer func() { _ = unix.Close(dir) }()
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	fd, err := -1, error(unix.EAGAIN)
	for n := 0; n < tries && errors.Is(err, unix.EAGAIN); n++ { // something was renamed meanwhile, and the kernel could not tell
		fd, err = retry(func() (int, error) { return unix.Openat2(dir, rest, how) })
	}
	name := path.Join(folder, rest)
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ELOOP):
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrOutside}
	case err != nil:
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

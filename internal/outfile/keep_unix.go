//go:build unix

package outfile

import (
	"io/fs"
	"os"
	"syscall"
)

// keep gives a file the owner and the mode of the one whose place it takes. Only root can give files away.
func keep(f *os.File, before fs.FileInfo) error {
	now, err := f.Stat()
	if err != nil {
		return err
	}
	is, was := now.Sys().(*syscall.Stat_t), before.Sys().(*syscall.Stat_t)
	if is.Uid != was.Uid || is.Gid != was.Gid {
		_ = f.Chown(int(was.Uid), int(was.Gid))
	}
	return f.Chmod(before.Mode().Perm())
}

package files

import (
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/berthd/berth/internal/securefs"
)

// single is a list of one.
type single struct{ info }

// ListAt implements sftp.ListerAt.
func (s single) ListAt(to []os.FileInfo, at int64) (int, error) {
	if at > 0 || len(to) == 0 {
		return 0, io.EOF
	}
	to[0] = s.info
	return 1, nil
}

// listing is a directory that the client reads.
type listing struct {
	*securefs.Dir
	tree *tree
}

// ListAt implements sftp.ListerAt. The library asks for one part after the other.
func (l *listing) ListAt(to []os.FileInfo, _ int64) (int, error) {
	entries, err := l.Next(len(to))
	if err != nil {
		return 0, err
	}
	for i, e := range entries {
		to[i] = l.tree.info(e.Name, e.Info)
	}
	return len(entries), nil
}

// Close implements io.Closer.
func (l *listing) Close() error {
	l.tree.give()
	return l.Dir.Close()
}

// info is an object as the client sees it, with the IDs that it has inside.
type info struct {
	name string
	securefs.Info
}

func (t *tree) info(name string, i securefs.Info) info {
	i.UID, i.GID = inside(t.ids, i.UID, false), inside(t.ids, i.GID, true)
	return info{name, i}
}

// Name, Size, Mode, ModTime, IsDir and Sys implement fs.FileInfo.
func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.Info.Size }
func (i info) Mode() fs.FileMode  { return i.Info.Mode }
func (i info) ModTime() time.Time { return i.Info.ModTime }
func (i info) IsDir() bool        { return i.Info.Mode.IsDir() }

// Sys is where the library looks for the owner.
func (i info) Sys() any { return &syscall.Stat_t{Uid: uint32(i.UID), Gid: uint32(i.GID), Nlink: 1} }

package files

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"sync"

	"github.com/pkg/sftp"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/securefs"
)

// tree is what one SFTP session sees: every operation goes through the root handle.
type tree struct {
	*root
	mu     sync.Mutex
	opened map[string]*openFile // by the name that stands for it
	count  int                  // of open files and directories
	serial int
}

var (
	_ sftp.FileReader           = (*tree)(nil)
	_ sftp.OpenFileWriter       = (*tree)(nil)
	_ sftp.PosixRenameFileCmder = (*tree)(nil)
	_ sftp.StatVFSFileCmder     = (*tree)(nil)
	_ sftp.LstatFileLister      = (*tree)(nil)
	_ sftp.ReadlinkFileLister   = (*tree)(nil)
)

// openFile is a file that the client has a handle of.
type openFile struct {
	*os.File
	tree *tree
	name string
}

// Close implements io.Closer.
func (f *openFile) Close() error {
	f.tree.mu.Lock()
	if f.tree.opened[f.name] == f {
		delete(f.tree.opened, f.name)
		f.tree.count--
	}
	f.tree.mu.Unlock()
	return f.File.Close()
}

// Fileread implements sftp.FileReader.
func (t *tree) Fileread(r *sftp.Request) (io.ReaderAt, error) { return t.openFile(r) }

// Filewrite implements sftp.FileWriter.
func (t *tree) Filewrite(r *sftp.Request) (io.WriterAt, error) { return t.openFile(r) }

// OpenFile implements sftp.OpenFileWriter.
func (t *tree) OpenFile(r *sftp.Request) (sftp.WriterAtReaderAt, error) { return t.openFile(r) }

// openFile opens a file. From then on the request's path is a name of the handle: the library asks by path for what the client asks by
// handle, and what is at the path by then may be another file. No path in an instance holds a NUL.
func (t *tree) openFile(r *sftp.Request) (o *openFile, err error) {
	defer survive(&err)
	if err := t.take(); err != nil {
		return nil, err
	}
	perm := fs.FileMode(0o644)
	if given := r.Attributes(); given != nil && r.AttrFlags().Permissions {
		perm = given.FileMode() & permissions
	}
	var f *os.File
	err = t.as(func() (err error) {
		f, err = t.Root.OpenFile(r.Filepath, openFlags(r.Pflags()), t.rootOwner(), perm)
		return err
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.count--
		return nil, told(err)
	}
	t.serial++
	o = &openFile{f, t, "/\x00" + strconv.Itoa(t.serial)}
	t.opened[o.name] = o
	r.Filepath = o.name
	return o, nil
}

// permissions are the bits of a mode that can be set.
const permissions = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// openFlags are those of open(2). Appending is the client's to do: it gives the place of each write.
func openFlags(p sftp.FileOpenFlags) int {
	flags := unix.O_RDONLY
	switch {
	case p.Read && (p.Write || p.Append):
		flags = unix.O_RDWR
	case p.Write || p.Append || p.Creat || p.Trunc:
		flags = unix.O_WRONLY
	}
	for flag, set := range map[int]bool{unix.O_CREAT: p.Creat, unix.O_TRUNC: p.Trunc, unix.O_EXCL: p.Excl && p.Creat} {
		if set {
			flags |= flag
		}
	}
	return flags
}

func (t *tree) take() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= maxOpen {
		return errTooMany
	}
	t.count++
	return nil
}

// handle finds the open file that a path stands for.
func (t *tree) handle(name string) *openFile {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.opened[name]
}

func (t *tree) rootOwner() securefs.Owner {
	return securefs.Owner{UID: outside(t.ids, 0, false), GID: outside(t.ids, 0, true)}
}

// Filecmd implements sftp.FileCmder.
func (t *tree) Filecmd(r *sftp.Request) (err error) {
	defer survive(&err)
	return told(t.as(func() error {
		switch r.Method {
		case "Setstat":
			return t.setstat(r)
		case "Rename":
			return t.Root.Rename(r.Filepath, r.Target, false)
		case "Remove":
			return t.Root.Unlink(r.Filepath)
		case "Rmdir":
			return t.Root.Rmdir(r.Filepath)
		case "Mkdir":
			return t.Root.Mkdir(r.Filepath, t.rootOwner(), 0o755)
		case "Link":
			return t.Root.Link(r.Filepath, r.Target)
		case "Symlink": // here the library calls the text of the link the path
			return t.Root.Symlink(r.Filepath, r.Target, t.rootOwner())
		}
		return sftp.ErrSSHFxOpUnsupported
	}))
}

// PosixRename implements sftp.PosixRenameFileCmder: what has the new name is replaced.
func (t *tree) PosixRename(r *sftp.Request) (err error) {
	defer survive(&err)
	return told(t.as(func() error { return t.Root.Rename(r.Filepath, r.Target, true) }))
}

func (t *tree) setstat(r *sftp.Request) error {
	has, given := r.AttrFlags(), r.Attributes()
	if given == nil { // cut off
		return sftp.ErrSSHFxBadMessage
	}
	var a securefs.Attr
	if has.Size {
		size := int64(given.Size)
		if size < 0 {
			return unix.EFBIG
		}
		a.Size = &size
	}
	if has.UidGid {
		a.Owner = &securefs.Owner{UID: outside(t.ids, int64(given.UID), false), GID: outside(t.ids, int64(given.GID), true)}
		if a.Owner.UID < 0 || a.Owner.GID < 0 {
			return fmt.Errorf("owner %d:%d is none of the instance's: %w", given.UID, given.GID, unix.EINVAL)
		}
	}
	if has.Permissions {
		mode := given.FileMode() & permissions
		a.Mode = &mode
	}
	if has.Acmodtime {
		a.Times = &securefs.Times{Access: given.AccessTime(), Modify: given.ModTime()}
	}
	if f := t.handle(r.Filepath); f != nil {
		return t.SetFileAttr(f.File, a)
	}
	return t.SetAttr(r.Filepath, a)
}

// StatVFS implements sftp.StatVFSFileCmder.
func (t *tree) StatVFS(r *sftp.Request) (vfs *sftp.StatVFS, err error) {
	defer survive(&err)
	st, err := t.Statfs(r.Filepath)
	if err != nil {
		return nil, told(err)
	}
	return &sftp.StatVFS{
		Bsize: uint64(st.Bsize), Frsize: uint64(st.Frsize), Blocks: st.Blocks, Bfree: st.Bfree, Bavail: st.Bavail,
		Files: st.Files, Ffree: st.Ffree, Favail: st.Ffree, Flag: uint64(st.Flags), Namemax: uint64(st.Namelen),
	}, nil
}

// Readlink implements sftp.ReadlinkFileLister.
func (t *tree) Readlink(name string) (target string, err error) {
	defer survive(&err)
	target, err = t.Root.Readlink(name)
	return target, told(err)
}

// Lstat implements sftp.LstatFileLister.
func (t *tree) Lstat(r *sftp.Request) (_ sftp.ListerAt, err error) {
	defer survive(&err)
	found, err := t.Root.Lstat(r.Filepath)
	return t.one(r.Filepath, found, err)
}

// Filelist implements sftp.FileLister: directories, and Stat.
func (t *tree) Filelist(r *sftp.Request) (_ sftp.ListerAt, err error) {
	defer survive(&err)
	switch r.Method {
	case "List":
		if err := t.take(); err != nil {
			return nil, err
		}
		d, err := t.OpenDir(r.Filepath)
		if err != nil {
			t.give()
			return nil, told(err)
		}
		return &listing{Dir: d, tree: t}, nil
	case "Stat":
		if f := t.handle(r.Filepath); f != nil {
			found, err := securefs.FileInfo(f.File)
			return t.one(r.Filepath, found, err)
		}
		found, err := t.Root.Stat(r.Filepath)
		return t.one(r.Filepath, found, err)
	}
	return nil, sftp.ErrSSHFxOpUnsupported
}

func (t *tree) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.count--
}

// closeAll closes what the client has left open.
func (t *tree) closeAll() {
	t.mu.Lock()
	left := t.opened
	t.opened = map[string]*openFile{}
	t.mu.Unlock()
	for _, f := range left {
		_ = f.File.Close()
	}
}

func (t *tree) one(name string, i securefs.Info, err error) (sftp.ListerAt, error) {
	if err != nil {
		return nil, told(err)
	}
	return single{t.info(path.Base(name), i)}, nil
}

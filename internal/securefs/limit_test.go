package securefs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stranger is an ID that the limit of these tests leaves out, as a host's own is on a disk that is not shifted.
const stranger = 4242

// limited is a root of whose objects those of stranger are not the guest's.
func limited(t *testing.T) (*Root, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root, to give files to others")
	}
	dir := t.TempDir()
	r, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	r.Limit(func(uid, gid int) bool { return uid != stranger && gid != stranger })
	return r, dir
}

// foreign makes an object that is stranger's, with exactly this mode.
func foreign(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	var err error
	if mode.IsDir() {
		err = os.Mkdir(path, 0o700)
	} else {
		err = os.WriteFile(path, []byte("host"), 0o600)
	}
	if err == nil {
		err = os.Chown(path, stranger, stranger)
	}
	if err == nil {
		err = os.Chmod(path, mode&^fs.ModeDir)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A guest leads paths onto a disk of the host's. What it may not do there itself must not be done for it.
func TestWhatIsNotTheGuestsIsReachedWithEverybodysRights(t *testing.T) {
	r, dir := limited(t)
	disk := filepath.Join(dir, "disk")
	foreign(t, disk, fs.ModeDir|0o755)
	foreign(t, filepath.Join(disk, "secret"), 0o600)
	foreign(t, filepath.Join(disk, "public"), 0o644)
	foreign(t, filepath.Join(disk, "open"), 0o666)
	foreign(t, filepath.Join(dir, "share"), fs.ModeDir|fs.ModeSticky|0o777)
	foreign(t, filepath.Join(dir, "share/theirs"), 0o644)
	for name, target := range map[string]string{"link": "/disk/secret", "new": "/disk/new", "at": "/disk"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "own"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	opened := func(f *os.File, err error) error {
		if err == nil {
			_ = f.Close()
		}
		return err
	}
	zero, mode := int64(0), fs.FileMode(0o777)
	for what, err := range map[string]error{
		"read":             opened(r.OpenRead("disk/secret")),
		"read by a link":   opened(r.OpenRead("link")),
		"write":            opened(r.OpenWrite("disk/public", false)),
		"write by a link":  opened(r.OpenFile("link", unix.O_RDWR, me, 0o600)),
		"create":           opened(r.Create("disk/x", me, 0o600)),
		"create by a link": opened(r.OpenFile("new", unix.O_WRONLY|unix.O_CREAT, me, 0o600)),
		"create exclusive": opened(r.OpenFile("at/x", unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, me, 0o600)),
		"mkdir":            r.Mkdir("at/x", me, 0o700),
		"symlink":          r.Symlink("/", "at/x", me),
		"remove":           r.Remove("at/public"),
		"rename from":      r.Rename("at/public", "x", true),
		"rename to":        r.Rename("own", "at/x", true),
		"rename over":      r.Rename("own", "share/theirs", true),
		"remove sticky":    r.Remove("share/theirs"),
		"link":             r.Link("disk/public", "x"),
		"link to":          r.Link("own", "at/x"),
		"chown":            r.Chown("link", me),
		"chmod":            r.Chmod("disk/open", mode),
		"truncate":         r.SetAttr("disk/public", Attr{Size: &zero}),
		"times":            r.SetAttr("disk/open", Attr{Times: &Times{}}),
	} {
		if !errors.Is(err, fs.ErrPermission) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"read public": opened(r.OpenRead("disk/public")), "write open": opened(r.OpenWrite("disk/open", true)),
		"create in a share": opened(r.OpenFile("share/mine", unix.O_RDWR|unix.O_CREAT, me, 0o600)), "remove one's own there": r.Remove("share/mine"),
		"own": r.Chmod("own", 0o640),
	} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestAttributes(t *testing.T) {
	r, dir := limited(t)
	path := filepath.Join(dir, "f")
	if err := errors.Join(os.WriteFile(path, []byte("0123456789"), 0o600), unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600)); err != nil {
		t.Fatal(err)
	}
	size, mode := int64(4), fs.ModeSetuid|0o755
	at := time.Unix(1_000_000_000, 5000)
	if err := r.SetAttr("f", Attr{Size: &size, Owner: &Owner{7, 8}, Mode: &mode, Times: &Times{at, at}}); err != nil {
		t.Fatal(err)
	}
	info, err := r.Stat("f")
	if err != nil || info.Size != 4 || info.UID != 7 || info.GID != 8 || info.Mode != mode || !info.ModTime.Equal(at) {
		t.Errorf("%+v %v", info, err)
	}
	// What was opened is meant, wherever it is by now.
	f, err := r.OpenFile("f", unix.O_RDONLY, me, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := errors.Join(os.Rename(path, filepath.Join(dir, "g")), os.WriteFile(path, []byte("other"), 0o600)); err != nil {
		t.Fatal(err)
	}
	size = 2
	if err := r.SetFileAttr(f, Attr{Size: &size}); err != nil {
		t.Fatal(err)
	}
	if info, err := r.Stat("g"); err != nil || info.Size != 2 {
		t.Errorf("%+v %v", info, err)
	}
	if info, err := FileInfo(f); err != nil || info.Size != 2 {
		t.Errorf("%+v %v", info, err)
	}
	if info, err := r.Stat("f"); err != nil || info.Size != 5 {
		t.Errorf("%+v %v", info, err)
	}
	if err := r.SetAttr("fifo", Attr{Mode: &mode}); !errors.Is(err, ErrNotRegular) {
		t.Errorf("FIFO: %v", err)
	}
}

func TestRenameLinkAndRemoval(t *testing.T) {
	r, inside, outside := hostile(t)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(inside, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fails := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write("one", "1")
	write("two", "2")
	fails("over another", r.Rename("one", "two", false), fs.ErrExist)
	fails("replace", r.Rename("one", "two", true), nil)
	fails("gone", r.Rename("one", "three", true), fs.ErrNotExist)
	fails("link", r.Link("two", "a/b/hard"), nil)
	fails("link of a link", r.Link("outsecret", "a/x"), ErrNotRegular)
	fails("link of a FIFO", r.Link("fifo", "a/x"), ErrNotRegular)
	fails("out", r.Rename("two", "out/x", true), fs.ErrNotExist)
	fails("out by many", r.Rename("two", "../../../../../.."+outside+"/x", true), fs.ErrNotExist)
	fails("directory as file", r.Unlink("a"), syscall.EISDIR)
	fails("file as directory", r.Rmdir("two"), syscall.ENOTDIR)
	fails("not empty", r.Rmdir("a"), syscall.ENOTEMPTY)
	fails("a link goes, not what it leads to", r.Unlink("outsecret"), nil)
	fails("the root", r.Rename("/", "x", true), syscall.EBUSY)
	if data, err := os.ReadFile(filepath.Join(inside, "a/b/hard")); err != nil || string(data) != "1" {
		t.Errorf("%q %v", data, err)
	}
}

func TestOpenFile(t *testing.T) {
	r, inside, _ := hostile(t)
	for _, c := range []struct {
		name  string
		flags int
		want  error
	}{
		{"made", unix.O_RDWR | unix.O_CREAT, nil},
		{"made", unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, fs.ErrExist},
		{"made", unix.O_WRONLY | unix.O_CREAT | unix.O_TRUNC, nil},
		{"none", unix.O_RDWR, fs.ErrNotExist},
		{"dangling", unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL, fs.ErrExist},
		{"dangling", unix.O_WRONLY | unix.O_CREAT, nil},
		{"loop", unix.O_WRONLY | unix.O_CREAT, syscall.ELOOP},
		{"fifo", unix.O_WRONLY | unix.O_CREAT, ErrNotRegular},
		{"fifo", unix.O_RDONLY, ErrNotRegular},
		{"etc", unix.O_RDONLY, syscall.EISDIR},
		{"outsecret", unix.O_RDONLY, fs.ErrNotExist},
		{"outsecret", unix.O_WRONLY | unix.O_CREAT, fs.ErrNotExist},
	} {
		f, err := r.OpenFile(c.name, c.flags, me, 0o640)
		if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
			t.Errorf("%s %x: %v", c.name, c.flags, err)
		}
		if err == nil {
			_ = f.Close()
		}
	}
	if info, err := os.Lstat(filepath.Join(inside, "etc/new")); err != nil || info.Mode() != 0o640 {
		t.Errorf("through a link: %v %v", info, err)
	}
}

package securefs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hostile makes a tree whose every entry tries to lead outside, and a file outside to be left alone.
func hostile(t *testing.T) (r *Root, inside, outside string) {
	t.Helper()
	top := t.TempDir()
	inside, outside = filepath.Join(top, "rootfs"), filepath.Join(top, "outside")
	for _, dir := range []string{inside, outside, filepath.Join(inside, "etc"), filepath.Join(inside, "a/b")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(inside, "etc/passwd"), "guest")
	write(filepath.Join(outside, "secret"), "host")
	for name, target := range map[string]string{
		"abs": "/etc/passwd", "up": "../../../../etc/passwd", "out": outside, "outsecret": filepath.Join(outside, "secret"),
		"dangling": "/etc/new", "loop": "loop", "a/b/up": "../../../outside", "procroot": "/proc/self/root",
	} {
		if err := os.Symlink(target, filepath.Join(inside, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(inside, "fifo"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Open(inside)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		entries, err := os.ReadDir(outside)
		data, _ := os.ReadFile(filepath.Join(outside, "secret"))
		if err != nil || len(entries) != 1 || string(data) != "host" {
			t.Errorf("outside was changed: %v %q %v", entries, data, err)
		}
	})
	return r, inside, outside
}

var me = Owner{os.Getuid(), os.Getgid()}

func read(t *testing.T, r *Root, name string) (string, error) {
	t.Helper()
	f, err := r.OpenRead(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	return string(data), err
}

func TestReadStaysInside(t *testing.T) {
	r, _, outside := hostile(t)
	for name, want := range map[string]string{
		"/etc/passwd": "guest", "etc/passwd": "guest", "/../../etc/passwd": "guest", "abs": "guest", "up": "guest", "/a/b/../../abs": "guest",
	} {
		if got, err := read(t, r, name); got != want || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"out/secret": fs.ErrNotExist, "outsecret": fs.ErrNotExist, "a/b/up/secret": fs.ErrNotExist, "dangling": fs.ErrNotExist,
		"../outside/secret": fs.ErrNotExist, outside + "/secret": fs.ErrNotExist, "procroot/etc/passwd": fs.ErrNotExist,
		"loop": unix.ELOOP, "fifo": ErrNotRegular, "/": unix.EISDIR, "/etc/passwd/x": unix.ENOTDIR, "a\x00b": unix.EINVAL,
		strings.Repeat("x", 5000): unix.ENAMETOOLONG,
	} {
		if got, err := read(t, r, name); !errors.Is(err, want) {
			t.Errorf("%.40s: %q %v, want %v", name, got, err, want)
		}
	}
}

func TestMagicLinksAreRefused(t *testing.T) {
	r, err := Open("/")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := read(t, r, "/proc/self/root/etc/hostname"); !errors.Is(err, unix.ELOOP) {
		t.Errorf("through /proc/self/root: %v", err)
	}
	if _, err := r.OpenRead("/dev/null"); !errors.Is(err, ErrNotRegular) {
		t.Errorf("a device: %v", err)
	}
	if _, err := r.Create("/dev/null", me, 0o600); !errors.Is(err, ErrNotRegular) {
		t.Errorf("create on a device: %v", err)
	}
}

func TestWriteStaysInside(t *testing.T) {
	r, inside, _ := hostile(t)
	f, err := r.Create("dangling", me, 0o4755)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	if _, err := os.Lstat(filepath.Join(inside, "etc/new")); err != nil {
		t.Errorf("the link was not followed inside: %v", err)
	}
	for _, name := range []string{"out/x", "a/b/up/x", "/nowhere/x"} {
		if _, err := r.Create(name, me, 0o600); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("create %s: %v", name, err)
		}
		if err := r.Mkdir(name, me, 0o700); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("mkdir %s: %v", name, err)
		}
		if err := r.Symlink("t", name, me); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("symlink %s: %v", name, err)
		}
		if err := r.Remove(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove %s: %v", name, err)
		}
	}
	blocked := make(chan error, 2)
	go func() {
		_, err := r.OpenWrite("fifo", false)
		blocked <- err
		_, err = r.Create("fifo", me, 0o600)
		blocked <- err
	}()
	for range 2 {
		select {
		case err := <-blocked:
			if !errors.Is(err, ErrNotRegular) && !errors.Is(err, unix.ENXIO) {
				t.Errorf("write to a FIFO: %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a FIFO blocks")
		}
	}
}

func TestObjects(t *testing.T) {
	r, inside, _ := hostile(t)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(r.Mkdir("/d", me, 0o1751))
	check(r.MkdirAll("/d/e/f/", me, 0o700))
	check(r.MkdirAll("/d/e/f", me, 0o755))
	if err := r.Mkdir("/d", me, 0o700); !errors.Is(err, fs.ErrExist) {
		t.Errorf("second mkdir: %v", err)
	}
	if err := r.MkdirAll("/etc/passwd/x", me, 0o700); err == nil {
		t.Error("a directory below a file")
	}
	info, err := r.Lstat("d/e")
	check(err)
	if !info.Mode.IsDir() || info.Mode.Perm() != 0o700 {
		t.Errorf("mode %v", info.Mode)
	}
	check(r.Symlink("../x y", "/d/l", me))
	if target, err := r.Readlink("/d/l"); target != "../x y" || err != nil {
		t.Errorf("%q %v", target, err)
	}
	if info, err := r.Lstat("/abs"); err != nil || info.Mode.Type() != fs.ModeSymlink {
		t.Errorf("%v %v", info, err)
	}
	if info, err := r.Stat("/abs"); err != nil || !info.Mode.IsRegular() || info.Size != 5 {
		t.Errorf("%v %v", info, err)
	}
	f, err := r.Create("/d/file", me, 0o640)
	check(err)
	_, err = f.WriteString("one")
	check(errors.Join(err, f.Close()))
	f, err = r.OpenWrite("/d/file", true)
	check(err)
	_, err = f.WriteString("two")
	check(errors.Join(err, f.Close()))
	if got, err := read(t, r, "d/file"); got != "onetwo" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	check(r.Chmod("d/file", 0o600))
	check(r.Chmod("d", 0o755))
	check(r.Chown("d/file", me))
	names, err := r.ReadDir("/d")
	check(err)
	if strings.Join(names, " ") != "e file l" {
		t.Errorf("names %v", names)
	}
	if err := r.Remove("/d"); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("remove of a full directory: %v", err)
	}
	for _, name := range []string{"/", "", ".", "d/..", "d/."} {
		if err := r.Remove(name); !errors.Is(err, unix.EBUSY) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	for _, name := range []string{"d/l", "d/file", "d/e/f", "d/e", "d", "out", "fifo"} {
		check(r.Remove(name))
	}
	if _, err := os.Lstat(filepath.Join(inside, "d")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("d is still there: %v", err)
	}
}

// TestRace swaps a directory for a link to the outside while files are made beneath it.
func TestRace(t *testing.T) {
	r, inside, outside := hostile(t)
	stop := make(chan struct{})
	swapped := make(chan struct{})
	go func() {
		defer close(swapped)
		dir, link, spare := filepath.Join(inside, "a"), filepath.Join(inside, "evil"), filepath.Join(inside, "spare")
		_ = os.Symlink(outside, link)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Rename(dir, spare)
				_ = os.Rename(link, dir)
				_ = os.Rename(dir, link)
				_ = os.Rename(spare, dir)
			}
		}
	}()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if f, err := r.Create("a/new", me, 0o600); err == nil {
			_ = f.Close()
		}
		_ = r.Mkdir("a/../a/dir", me, 0o700)
		_ = r.Remove("a/secret")
	}
	close(stop)
	<-swapped
}

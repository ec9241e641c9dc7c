package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func text(s string) func(f *File) error {
	return func(f *File) error {
		_, err := f.WriteString(s)
		return err
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || string(data) != want {
		t.Errorf("%s: %q instead of %q, %v", path, data, want, err)
	}
}

// entries are the names in a folder.
func entries(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func node(t *testing.T, mode, major, minor uint32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node")
	if err := unix.Mknod(path, mode|0o600, int(unix.Mkdev(major, minor))); err != nil {
		t.Fatal(err)
	}
	return path
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

func TestADeviceStaysOne(t *testing.T) {
	null, full := node(t, unix.S_IFCHR, 1, 3), node(t, unix.S_IFCHR, 1, 7)
	if err := WriteFile(null, 0o644, text("x")); err != nil {
		t.Error(err)
	}
	if err := WriteFile(full, 0o644, text("x")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v", err)
	}
	for _, path := range []string{null, full} {
		if mode := modeOf(t, path); mode != fs.ModeDevice|fs.ModeCharDevice|0o600 {
			t.Errorf("%s is %v now", path, mode)
		}
		if got := entries(t, filepath.Dir(path)); got != "node" {
			t.Errorf("left beside it: %s", got)
		}
	}
}

func TestAPipeGetsWhatIsWritten(t *testing.T) {
	pipe := node(t, unix.S_IFIFO, 0, 0)
	read := make(chan string, 1)
	go func() {
		f, err := os.Open(pipe)
		if err != nil {
			read <- err.Error()
			return
		}
		defer f.Close()
		data, _ := io.ReadAll(io.LimitReader(f, 100))
		read <- string(data)
	}()
	if err := WriteFile(pipe, 0o644, text("through")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "through" {
		t.Errorf("the reader got %q", got)
	}
}

func TestALinkIsFollowed(t *testing.T) {
	for name, there := range map[string]bool{"to a file": true, "to nothing yet": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"a", "b", "b/deep"} {
				if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			// "into" leads to b/deep, so that "into/../file" is b/file and not a/file.
			for link, to := range map[string]string{"a/into": "../b/deep", "a/first": "second", "a/second": "into/../file"} {
				if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
					t.Fatal(err)
				}
			}
			file := filepath.Join(dir, "b/file")
			if there {
				if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := WriteFile(filepath.Join(dir, "a/first"), 0o644, text("new")); err != nil {
				t.Fatal(err)
			}
			holds(t, file, "new")
			if got := entries(t, filepath.Join(dir, "a")) + "|" + entries(t, filepath.Join(dir, "b")); got != "first into second|deep file" {
				t.Errorf("now there are %s", got)
			}
			if mode := modeOf(t, filepath.Join(dir, "a/first")); mode&fs.ModeSymlink == 0 {
				t.Errorf("the link is %v now", mode)
			}
		})
	}
}

// TestAnOpenFileWithoutANameIsWritten: /dev/stdout may be a file that was removed, or one that others append to.
func TestAnOpenFileWithoutANameIsWritten(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "gone"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), link); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(link, 0o644, text("seen")); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 10)
	if n, _ := f.ReadAt(data, 0); string(data[:n]) != "seen" {
		t.Errorf("got %q", data[:n])
	}
	if got := entries(t, filepath.Dir(f.Name())); got != "" {
		t.Errorf("made beside it: %s", got)
	}
}

func TestAFailureLeavesTheFileOfBefore(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	for _, name := range []string{"old", "new"} {
		path := filepath.Join(dir, name)
		if name == "old" {
			if err := os.WriteFile(path, []byte("whole"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := WriteFile(path, 0o644, func(f *File) error { return errors.Join(text("ha")(f), broken) })
		if !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	holds(t, filepath.Join(dir, "old"), "whole")
	if got := entries(t, dir); got != "old" {
		t.Errorf("now there are %s", got)
	}
}

// TestAFileKeepsItsModeAndOwner: an image that was written where only its owner could read it would be everybody's.
func TestAFileKeepsItsModeAndOwner(t *testing.T) {
	before := unix.Umask(0o027)
	defer unix.Umask(before)
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	if err := os.WriteFile(old, nil, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(old, 0o604); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(old, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{old: 0o604, fresh: 0o640} {
		if err := WriteFile(path, 0o644, text("x")); err != nil {
			t.Fatal(err)
		}
		holds(t, path, "x")
		if mode := modeOf(t, path); mode != want {
			t.Errorf("%s: mode %v instead of %v", path, mode, want)
		}
	}
	info, err := os.Stat(old)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 4321 {
		t.Errorf("owned by %d:%d", st.Uid, st.Gid)
	}
}

// TestAMountPointIsWrittenTo: a file that was bound into a container cannot be replaced.
func TestAMountPointIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	source, point := filepath.Join(dir, "source"), filepath.Join(dir, "point")
	for _, path := range []string{source, point} {
		if err := os.WriteFile(path, []byte("much longer than before"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount(source, point, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(point, unix.MNT_DETACH) })
	if err := WriteFile(point, 0o644, text("new")); err != nil {
		t.Fatal(err)
	}
	holds(t, source, "new")
	if got := entries(t, dir); got != "point source" {
		t.Errorf("now there are %s", got)
	}
}

func TestWhatCannotBeWrittenIsSaidAtOnce(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("loop", filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, strings.Repeat("x", 255))
	for path, want := range map[string]string{
		dir:                              "is a directory",
		filepath.Join(dir, "none/x"):     "no such file or directory",
		filepath.Join(dir, "loop"):       "too many levels of symbolic links",
		filepath.Join(long + "y"):        "file name too long",
		filepath.Join(dir, "none") + "/": "no such file or directory",
	} {
		_, err := Create(path, 0o644)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), ".tmp") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := WriteFile(long, 0o644, text("x")); err != nil {
		t.Errorf("the longest name there can be: %v", err)
	}
}

package treecopy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/subvolume"
)

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// describe lists all that a copy has to keep, one line a file; inodes of linked files are numbered in order.
func describe(t testing.TB, root string) []string {
	t.Helper()
	var lines []string
	numbers := map[uint64]int{}
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		line := fmt.Sprintf("%s mode=%o uid=%d gid=%d mtime=%d.%d", rel, st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			target, _ := os.Readlink(path)
			line += " -> " + target
		case unix.S_IFREG:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" size=%d sum=%d", st.Size, sum(data))
		case unix.S_IFBLK, unix.S_IFCHR:
			line += fmt.Sprintf(" rdev=%x", st.Rdev)
		}
		if st.Nlink > 1 && st.Mode&unix.S_IFMT != unix.S_IFDIR {
			if numbers[st.Ino] == 0 {
				numbers[st.Ino] = len(numbers) + 1
			}
			line += fmt.Sprintf(" link=%d/%d", numbers[st.Ino], st.Nlink)
		}
		lines = append(lines, line+" "+xattrsOf(path))
		return nil
	}))
	return lines
}

func sum(data []byte) (n uint32) {
	for _, b := range data {
		n = n*31 + uint32(b)
	}
	return n
}

func xattrsOf(path string) string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return ""
	}
	var out []string
	for _, name := range bytes.Split(buf[:n], []byte{0}) {
		if len(name) > 0 {
			value := make([]byte, 4096)
			m, _ := unix.Lgetxattr(path, string(name), value)
			out = append(out, fmt.Sprintf("%s=%x", name, value[:m]))
		}
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

// zoo fills a folder with one of everything.
func zoo(t testing.TB, root string) {
	t.Helper()
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.MkdirAll(at("a/b/c"), 0o755))
	must(t, os.WriteFile(at("a/small"), []byte("hello"), 0o640))
	must(t, os.WriteFile(at("a/empty"), nil, 0o600))
	must(t, os.WriteFile(at("a/b/large"), bytes.Repeat([]byte("0123456789"), 50_000), 0o644))
	must(t, os.WriteFile(at("suid"), []byte("x"), 0o755))
	must(t, os.Chown(at("suid"), 12, 34))
	must(t, unix.Chmod(at("suid"), 0o6755))
	must(t, os.WriteFile(at("caps"), []byte("x"), 0o755))
	// CAP_NET_RAW, version 2 (linux/capability.h).
	must(t, unix.Setxattr(at("caps"), "security.capability", []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0))
	must(t, unix.Setxattr(at("a"), "user.note", []byte("folder"), 0))
	must(t, unix.Lsetxattr(at("a/b"), "trusted.note", bytes.Repeat([]byte("v"), 2000), 0))
	must(t, os.Symlink("/etc/passwd", at("a/absolute")))
	must(t, os.Symlink("../../../../etc/shadow", at("a/escape")))
	must(t, unix.Lsetxattr(at("a/absolute"), "trusted.link", []byte("v"), 0))
	must(t, os.Lchown(at("a/absolute"), 1000, 1001))
	must(t, unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(at("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 99))))
	must(t, unix.Mkfifo(at("pipe"), 0o622))
	must(t, unix.Mknod(at("socket"), unix.S_IFSOCK|0o640, 0))
	for i := range 200 {
		must(t, os.Link(at("a/small"), at(fmt.Sprintf("a/b/c/link%03d", i))))
		must(t, os.Symlink("small", at(fmt.Sprintf("a/sym%03d", i))))
	}
	f, err := os.Create(at("sparse"))
	must(t, err)
	_, err = f.WriteAt([]byte("middle"), 5<<20)
	must(t, err)
	must(t, f.Truncate(20<<20))
	must(t, f.Close())
	must(t, os.WriteFile(at("name with\nnewline"), nil, 0o644))
	must(t, unix.Chmod(at("a/b"), 0o3775))
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		times := []unix.Timespec{{Sec: 1_000_000_000}, {Sec: 1_234_567_890, Nsec: 123_456_789}}
		return errors.Join(err, unix.UtimesNanoAt(unix.AT_FDCWD, path, times, unix.AT_SYMLINK_NOFOLLOW))
	}))
}

func TestCopyKeepsEverything(t *testing.T) {
	loopfs.Each(t, func(t *testing.T, _, top string) {
		for _, workers := range []int{1, 8} {
			t.Run(fmt.Sprint(workers), func(t *testing.T) { keepsEverything(t, filepath.Join(top, fmt.Sprint(workers)), workers) })
		}
	})
}

func keepsEverything(t *testing.T, top string, workers int) {
	src, dst := filepath.Join(top, "src"), filepath.Join(top, "dst")
	must(t, os.MkdirAll(src, 0o751))
	must(t, os.MkdirAll(dst, 0o700))
	zoo(t, src)
	must(t, Copy(context.Background(), dst, src, Options{Workers: workers}))
	want, got := describe(t, src), describe(t, dst)
	for i := range want {
		if i >= len(got) || want[i] != got[i] {
			t.Fatalf("line %d:\nwant %s\ngot  %v", i, want[i], got[min(i, len(got)-1)])
		}
	}
	if len(got) > len(want) {
		t.Fatalf("%s is too much", got[len(want)])
	}
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dst, "sparse"), &st))
	if st.Blocks*512 > 1<<20 {
		t.Errorf("holes were filled: %d bytes on disk", st.Blocks*512)
	}
	must(t, RemoveTree(context.Background(), dst))
	if _, err := os.Lstat(dst); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("tree is still there: %v", err)
	}
}

func TestCopySharesData(t *testing.T) {
	for _, kind := range []string{"btrfs", "xfs"} {
		t.Run(kind, func(t *testing.T) {
			top := loopfs.Mount(t, kind)
			src, dst := filepath.Join(top, "src"), filepath.Join(top, "dst")
			must(t, os.Mkdir(src, 0o755))
			must(t, os.Mkdir(dst, 0o755))
			must(t, os.WriteFile(filepath.Join(src, "big"), bytes.Repeat([]byte("x"), 300<<20), 0o644))
			unix.Sync()
			must(t, Copy(context.Background(), dst, src, Options{})) // would not fit a second time
		})
	}
}

// TestRemoveFrozenSubvolume removes what a guest may have made read-only.
func TestRemoveFrozenSubvolume(t *testing.T) {
	top, fs := loopfs.Mount(t, "btrfs"), subvolume.FS{}
	tree := filepath.Join(top, "tree")
	must(t, os.MkdirAll(filepath.Join(tree, "d"), 0o700))
	must(t, fs.Make(filepath.Join(tree, "d", "s")))
	must(t, os.MkdirAll(filepath.Join(tree, "d", "s", "e", "f"), 0o700))
	must(t, fs.Clone(filepath.Join(tree, "d", "frozen"), filepath.Join(tree, "d", "s"), true))
	must(t, RemoveTree(context.Background(), tree))
	if _, err := os.Lstat(tree); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestCopyCancelled(t *testing.T) {
	needRoot(t)
	src, dst := t.TempDir(), t.TempDir()
	zoo(t, src)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Copy(ctx, dst, src, Options{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// until is a context that ends as soon as something is so.
type until struct {
	context.Context
	is func() bool
}

func (u until) Err() error {
	if u.is() {
		return context.Canceled
	}
	return nil
}

// TestALargeFileIsNotCopiedToItsEnd when the copy is cancelled meanwhile, whether the kernel copies it or we do.
func TestALargeFileIsNotCopiedToItsEnd(t *testing.T) {
	needRoot(t)
	memory := t.TempDir() // where files cannot share their contents
	must(t, unix.Mount("none", memory, "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(memory, 0)) })
	src := filepath.Join(memory, "src")
	must(t, os.Mkdir(src, 0o700))
	const size = 64 << 20
	must(t, os.WriteFile(filepath.Join(src, "large"), bytes.Repeat([]byte("x"), size), 0o600))
	for where, dst := range map[string]string{"on the same file system": filepath.Join(memory, "dst"), "on another one": filepath.Join(t.TempDir(), "dst")} {
		must(t, os.Mkdir(dst, 0o700))
		copied := func() int64 {
			info, err := os.Stat(filepath.Join(dst, "large"))
			if err != nil {
				return 0
			}
			return info.Size()
		}
		err := Copy(until{t.Context(), func() bool { return copied() > 0 }}, dst, src, Options{})
		if !errors.Is(err, context.Canceled) || copied() == size {
			t.Errorf("%s: %d of %d bytes were copied: %v", where, copied(), size, err)
		}
	}
}

func TestCopySkipsMounts(t *testing.T) {
	needRoot(t)
	src, dst := t.TempDir(), t.TempDir()
	must(t, os.Mkdir(filepath.Join(src, "mnt"), 0o750))
	must(t, unix.Mount("none", filepath.Join(src, "mnt"), "tmpfs", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(filepath.Join(src, "mnt"), 0)) })
	must(t, os.WriteFile(filepath.Join(src, "mnt", "secret"), nil, 0o600))
	must(t, Copy(context.Background(), dst, src, Options{}))
	if _, err := os.Lstat(filepath.Join(dst, "mnt", "secret")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what is mounted was copied")
	}
	if err := RemoveTree(context.Background(), src); !errors.Is(err, ErrMounted) {
		t.Errorf("removing over a mount: %v", err)
	}
	if _, err := os.Lstat(filepath.Join(src, "mnt", "secret")); err != nil {
		t.Error("what is mounted was removed")
	}
}

// TestCopyWhileItChanges swaps files for links to the outside as fast as it can; none must be followed.
func TestCopyWhileItChanges(t *testing.T) {
	needRoot(t)
	src, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret")
	must(t, os.WriteFile(secret, []byte("SECRET"), 0o600))
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			name := filepath.Join(src, "flip")
			_ = os.WriteFile(name, []byte("plain!"), 0o600)
			_ = os.Remove(name)
			_ = os.Symlink(secret, name)
			_ = os.Remove(name)
			_ = os.Mkdir(name, 0o700)
			_ = os.Remove(name)
			_ = os.Symlink(outside, name)
			_ = os.Remove(name)
		}
	}()
	for ctx.Err() == nil {
		dst := t.TempDir()
		if err := Copy(ctx, dst, src, Options{}); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dst) // which follows no link to the outside
		must(t, err)
		for _, name := range []string{"flip", "flip/secret"} {
			if data, _ := root.ReadFile(name); bytes.Contains(data, []byte("SECRET")) {
				t.Fatal("a link was followed")
			}
		}
		must(t, root.Close())
	}
	<-done
}

func TestRemoveDeepTree(t *testing.T) {
	needRoot(t)
	root := filepath.Join(t.TempDir(), "deep")
	must(t, os.Mkdir(root, 0o700))
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	must(t, err)
	for range 5000 { // far deeper than PATH_MAX lets a path reach
		must(t, unix.Mkdirat(fd, "ddd", 0o700))
		next, err := unix.Openat(fd, "ddd", unix.O_DIRECTORY|unix.O_RDONLY, 0)
		must(t, err)
		must(t, unix.Close(fd))
		fd = next
	}
	must(t, unix.Close(fd))
	dst := t.TempDir()
	if err := Copy(context.Background(), dst, root, Options{}); !errors.Is(err, ErrTooDeep) {
		t.Errorf("copy: %v", err)
	}
	must(t, RemoveTree(context.Background(), root))
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

func TestRemoveImmutable(t *testing.T) {
	needRoot(t)
	root := filepath.Join(t.TempDir(), "tree")
	must(t, os.MkdirAll(filepath.Join(root, "d"), 0o700))
	must(t, os.WriteFile(filepath.Join(root, "d", "f"), nil, 0))
	outside := filepath.Join(t.TempDir(), "kept")
	must(t, os.WriteFile(outside, nil, 0o600))
	must(t, os.Symlink(outside, filepath.Join(root, "d", "l")))
	if out, err := exec.Command("chattr", "+i", filepath.Join(root, "d", "f"), filepath.Join(root, "d"), root).CombinedOutput(); err != nil {
		t.Skipf("needs a file system with flags: %s", out)
	}
	must(t, RemoveTree(context.Background(), root))
	if _, err := os.Lstat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if _, err := os.Lstat(outside); err != nil {
		t.Error("a link was followed")
	}
	must(t, RemoveTree(context.Background(), root)) // that it is gone already is no error
	if err := RemoveAt(context.Background(), os.Stdin, "../x"); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("a path was taken for a name: %v", err)
	}
}

func FuzzParseDirents(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 24, 0, 4, 'a', 0, 0, 0, 0})
	f.Add(bytes.Repeat([]byte{0xff}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, e := range parseDirents(data, nil) {
			if e.name == "" || e.name == "." || e.name == ".." {
				t.Errorf("name %q", e.name)
			}
		}
	})
}

// benchTree is like a busybox image: about 400 names, most of them links.
func benchTree(b *testing.B) string {
	root := b.TempDir()
	for _, d := range []string{"bin", "etc", "usr/bin", "dev", "proc", "sys", "tmp", "lib"} {
		must(b, os.MkdirAll(filepath.Join(root, d), 0o755))
	}
	must(b, os.WriteFile(filepath.Join(root, "bin/busybox"), bytes.Repeat([]byte("elf."), 500_000), 0o755))
	for i := range 390 {
		must(b, os.Link(filepath.Join(root, "bin/busybox"), filepath.Join(root, fmt.Sprintf("bin/applet%d", i))))
	}
	for i := range 20 {
		must(b, os.WriteFile(filepath.Join(root, fmt.Sprintf("etc/f%d", i)), []byte("config"), 0o644))
	}
	return root
}

func BenchmarkCopySmall(b *testing.B) {
	src, parent := benchTree(b), b.TempDir()
	for i := 0; b.Loop(); i++ {
		dst := filepath.Join(parent, fmt.Sprint(i))
		must(b, os.Mkdir(dst, 0o700))
		must(b, Copy(context.Background(), dst, src, Options{}))
		b.StopTimer()
		must(b, RemoveTree(context.Background(), dst))
		b.StartTimer()
	}
}

func BenchmarkCopySmallByCp(b *testing.B) {
	src, parent := benchTree(b), b.TempDir()
	for i := 0; b.Loop(); i++ {
		dst := filepath.Join(parent, fmt.Sprint(i))
		must(b, exec.Command("cp", "-a", src, dst).Run())
		b.StopTimer()
		must(b, RemoveTree(context.Background(), dst))
		b.StartTimer()
	}
}

func BenchmarkRemoveSmall(b *testing.B) {
	src, parent := benchTree(b), b.TempDir()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		dst := filepath.Join(parent, fmt.Sprint(i))
		must(b, os.Mkdir(dst, 0o700))
		must(b, Copy(context.Background(), dst, src, Options{}))
		b.StartTimer()
		must(b, RemoveTree(context.Background(), dst))
	}
}

// A copy failed for one attribute that the other file system cannot hold.
func TestCopyWithoutWhatDoesNotFit(t *testing.T) {
	from, to := loopfs.Mount(t, "xfs"), loopfs.Mount(t, "ext4")
	src, dst := filepath.Join(from, "src"), filepath.Join(to, "dst")
	must(t, os.MkdirAll(filepath.Join(src, "etc"), 0o755))
	must(t, os.Mkdir(dst, 0o755))
	file := filepath.Join(src, "etc", "file")
	must(t, os.WriteFile(file, []byte("text"), 0o644))
	must(t, unix.Setxattr(file, "user.large", make([]byte, 8000), 0))
	must(t, unix.Setxattr(file, "user.small", []byte("v"), 0))
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	var log bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	must(t, Copy(context.Background(), dst, src, Options{}))
	got, err := os.ReadFile(filepath.Join(dst, "etc", "file"))
	buf := make([]byte, 10)
	n, xerr := unix.Getxattr(filepath.Join(dst, "etc", "file"), "user.small", buf)
	if err != nil || string(got) != "text" || xerr != nil || string(buf[:n]) != "v" {
		t.Errorf("%q %v, %q %v", got, err, buf[:max(n, 0)], xerr)
	}
	if said := log.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, "etc/file: attribute user.large") {
		t.Errorf("said: %s", said)
	}
}

func TestCopyDeepTree(t *testing.T) {
	for depth, fits := range map[int]bool{1500: true, MaxDepth + 10: false} {
		top := t.TempDir()
		t.Cleanup(func() { _ = RemoveTree(context.Background(), top) })
		src, dst := filepath.Join(top, "src"), filepath.Join(top, "dst")
		must(t, os.Mkdir(src, 0o755))
		must(t, os.Mkdir(dst, 0o755))
		fd, err := unix.Open(src, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, err)
		for range depth {
			must(t, unix.Mkdirat(fd, "d", 0o755))
			next, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
			must(t, err)
			must(t, unix.Close(fd))
			fd = next
		}
		must(t, unix.Close(fd))
		if err := Copy(context.Background(), dst, src, Options{}); (err == nil) != fits || err != nil && !errors.Is(err, ErrTooDeep) {
			t.Errorf("%d folders: %.300v", depth, err)
		}
		if _, err := os.Stat(dst + strings.Repeat("/d", depth)); fits && err != nil {
			t.Errorf("%.300v", err)
		}
	}
}

package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/subvolume"
	"github.com/berthd/berth/internal/treecopy"
)

// What real systems hold and real programs write.

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// unpackInto unpacks an archive that has to be accepted.
func unpackInto(t *testing.T, dir string, data []byte) Stats {
	t.Helper()
	stats, err := Unpack(context.Background(), fileOf(t, data), dir, Options{})
	must(t, err)
	return stats
}

func TestTheLastMemberOfANameCounts(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	fifo := item{h: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o600}}
	fifoAgain := item{h: tar.Header{Name: "p", Typeflag: tar.TypeFifo, Mode: 0o640}}
	unpackInto(t, dir, build(t,
		regular("f", "first"), hard("kept", "f"), regular(".//f", "second"),
		link("l", "first"), link("l", "second"),
		regular("h", "other"), hard("h", "f"), hard("h", "f"),
		fifo, fifoAgain,
		device("d", tar.TypeChar, 1, 3), device("d", tar.TypeChar, 1, 5),
		dirItem("dir"), regular("dir/in", "x"), dirItem("dir")))
	at := func(name string) string { return filepath.Join(dir, name) }
	for name, want := range map[string]string{"f": "second", "kept": "first", "h": "second", "dir/in": "x"} {
		if got, err := os.ReadFile(at(name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := os.Readlink(at("l")); err != nil || got != "second" {
		t.Errorf("the link leads to %q, %v", got, err)
	}
	var p, d, f, h unix.Stat_t
	must(t, errors.Join(unix.Lstat(at("p"), &p), unix.Lstat(at("d"), &d), unix.Lstat(at("f"), &f), unix.Lstat(at("h"), &h)))
	if p.Mode&0o777 != 0o640 || d.Rdev != unix.Mkdev(1, 5) || f.Ino != h.Ino {
		t.Errorf("fifo mode %o, device %d, inodes %d %d", p.Mode, d.Rdev, f.Ino, h.Ino)
	}
}

// One member took the place of another of a different type, and what came later went through it.
func TestNoMemberChangesItsType(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	kinds := map[string]item{
		"file": regular("x", "1"), "directory": dirItem("x"), "link": link("x", outside), "fifo": {h: tar.Header{Name: "x", Typeflag: tar.TypeFifo}},
		"device": device("x", tar.TypeChar, 1, 3), "node left out": device("x", tar.TypeBlock, 8, 0), "hard link to a link": hard("x", "to-link"),
	}
	same := map[string]string{"hard link to a link": "link"}
	for first, a := range kinds {
		for second, b := range kinds {
			if first == second || same[first] == second || same[second] == first {
				continue
			}
			dir := t.TempDir()
			_, err := Unpack(context.Background(), fileOf(t, build(t, link("to-link", outside), a, b, regular("x/evil", "x"))), dir, Options{})
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "comes twice") {
				t.Errorf("%s, then %s: %v", first, second, err)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("%s, then %s: left %v", first, second, left)
			}
		}
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Fatalf("written outside: %v", left)
	}
}

func TestWhatIsReplacedTakesNoRoom(t *testing.T) {
	needRoot(t)
	big := regular("f", strings.Repeat("x", 1<<20))
	dir := t.TempDir()
	room := diskspace.New(dir, "the pool", 3<<20)
	_, err := Unpack(context.Background(), fileOf(t, build(t, big, big, big, big, big, big)), dir, Options{Room: room})
	if err != nil || room.Taken() > 2<<20 {
		t.Errorf("%d taken, %v", room.Taken(), err)
	}
	linked := []item{}
	for i := range 6 { // kept under another name, each stays
		linked = append(linked, big, hard(fmt.Sprint("kept", i), "f"))
	}
	dir = t.TempDir()
	_, err = Unpack(context.Background(), fileOf(t, build(t, linked...)), dir, Options{Room: diskspace.New(dir, "the pool", 3<<20)})
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("six files of 1 MiB in 3 MiB: %v", err)
	}
}

// GNU tar takes an archive that ends with its last member, and none that ends before.
func TestAnArchiveNeedsNoEndMark(t *testing.T) {
	needRoot(t)
	whole := build(t, regular("a", "x"), regular("b", strings.Repeat("y", 700)), dirItem("d"))
	ends := map[int]bool{1024: true, 2560: true, 3072: true, 3584: true, 4096: true} // behind a, b, d, and with end blocks
	if len(whole) != 4096 {
		t.Fatal(len(whole))
	}
	for n := 512; n <= len(whole); n += 256 {
		dir := t.TempDir()
		_, err := Unpack(context.Background(), fileOf(t, whole[:n]), dir, Options{})
		if (err == nil) != ends[n] || err != nil && !errors.Is(err, ErrRefused) {
			t.Errorf("cut at %d: %v", n, err)
		}
		tarred := exec.Command("tar", "-xO")
		tarred.Stdin = bytes.NewReader(whole[:n])
		if tarErr := tarred.Run(); ends[n] && tarErr != nil {
			t.Errorf("tar refuses what is cut at %d: %v", n, tarErr)
		}
	}
	if _, err := Unpack(context.Background(), fileOf(t, gz(t, nil)), t.TempDir(), Options{}); !errors.Is(err, ErrRefused) {
		t.Errorf("nothing at all: %v", err)
	}
}

// deepTree makes nested folders with a file in the last, and returns how many bytes its path has.
func deepTree(t *testing.T, dir string, depth int, name string) int {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		must(t, errors.Join(err, unix.Close(fd)))
		fd = next
	}
	f, err := unix.Openat(fd, "file", unix.O_WRONLY|unix.O_CREAT, 0o640)
	must(t, errors.Join(err, unix.Close(fd)))
	must(t, unix.Close(f))
	return depth*(len(name)+1) + len("file")
}

// modeOfDeepFile walks to where deepTree made the file.
func modeOfDeepFile(t *testing.T, dir string, depth int, name string) uint32 {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	for i := range depth {
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			t.Fatalf("folder %d: %v", i, err)
		}
		fd = next
	}
	var st unix.Stat_t
	must(t, errors.Join(unix.Fstatat(fd, "file", &st, 0), unix.Close(fd)))
	return st.Mode & 0o777
}

func TestDeepTreesArePackedAndUnpacked(t *testing.T) {
	needRoot(t)
	for _, c := range []struct {
		depth int
		name  string
	}{{250, "d"}, {maxDepth - 2, "d"}, {300, strings.Repeat("n", 100)}} {
		src, dir := t.TempDir(), t.TempDir()
		t.Cleanup(func() {
			_ = treecopy.RemoveTree(context.Background(), src)
			_ = treecopy.RemoveTree(context.Background(), dir)
		})
		length := deepTree(t, src, c.depth, c.name)
		f := fileOf(t, nil)
		p := NewPacker(context.Background(), f)
		must(t, errors.Join(p.AddTree(src, "."), p.Close()))
		if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
			t.Errorf("%d folders, a path of %d bytes: %.300v", c.depth, length, err)
			continue
		}
		if mode := modeOfDeepFile(t, dir, c.depth, c.name); mode != 0o640 {
			t.Errorf("%d folders: mode %o", c.depth, mode)
		}
	}
}

// What could not be unpacked is not packed.
func TestTooDeepTreesAreNotPacked(t *testing.T) {
	src := t.TempDir()
	t.Cleanup(func() { _ = treecopy.RemoveTree(context.Background(), src) })
	deepTree(t, src, maxDepth+10, "d")
	p := NewPacker(context.Background(), fileOf(t, nil))
	if err := p.AddTree(src, "rootfs"); !errors.Is(err, treecopy.ErrTooDeep) || len(err.Error()) > 500 {
		t.Errorf("%.600v", err)
	}
}

// The content of a subvolume was missing without a word: its device number is that of a mount.
func TestSubvolumesArePacked(t *testing.T) {
	top := loopfs.Mount(t, "btrfs")
	src := filepath.Join(top, "src")
	must(t, os.Mkdir(src, 0o755))
	for _, name := range []string{"sub", "sub/within"} {
		must(t, subvolume.FS{}.Make(filepath.Join(src, name)))
		must(t, os.WriteFile(filepath.Join(src, name, "file"), []byte(name), 0o600))
	}
	must(t, os.Link(filepath.Join(src, "sub/file"), filepath.Join(src, "sub/again")))
	must(t, subvolume.FS{}.Freeze(filepath.Join(src, "sub/within")))
	f := fileOf(t, nil)
	p := NewPacker(context.Background(), f)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"sub/file": "sub", "sub/again": "sub", "sub/within/file": "sub/within"} {
		if got, err := os.ReadFile(filepath.Join(dir, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v", file, got, err)
		}
	}
	if p.Omitted.Count() > 0 {
		t.Errorf("omitted: %s", &p.Omitted)
	}
}

func TestWhatIsMountedIsNotPackedAndSaid(t *testing.T) {
	needRoot(t)
	src, other := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(other, "secret"), []byte("secret"), 0o600))
	must(t, os.Mkdir(filepath.Join(src, "on"), 0o755))
	must(t, os.WriteFile(filepath.Join(src, "file"), nil, 0o644))
	for from, to := range map[string]string{other: "on", filepath.Join(other, "secret"): "file"} {
		target := filepath.Join(src, to)
		must(t, unix.Mount(from, target, "", unix.MS_BIND, "")) // of the same file system: the device number does not tell
		t.Cleanup(func() { _ = unix.Unmount(target, unix.MNT_DETACH) })
	}
	var b bytes.Buffer
	p := NewPacker(context.Background(), &b)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	if bytes.Contains(b.Bytes(), []byte("secret")) {
		t.Error("what is mounted was packed")
	}
	if said := p.Omitted.String(); p.Omitted.Count() != 2 || !strings.Contains(said, "on: something is mounted on it") || !strings.Contains(said, "file: ") {
		t.Errorf("omitted: %s", said)
	}
}

// ext4 holds no more than a block of attributes. A file system that is full is another matter.
func TestAttributesThatDoNotFitAreSaid(t *testing.T) {
	dir := smallDisk(t)
	attribute := func(name, key, value string) item {
		return item{h: tar.Header{Name: name, Typeflag: tar.TypeReg, PAXRecords: map[string]string{xattrRecord + key: value}}, data: "content"}
	}
	stats := unpackInto(t, dir, build(t, attribute("etc/large", "user.large", strings.Repeat("v", 8000)), attribute("small", "user.small", "v"),
		attribute("labelled", "security.selinux", "label"), regular("last", "x")))
	if got, err := os.ReadFile(filepath.Join(dir, "etc/large")); err != nil || string(got) != "content" {
		t.Errorf("%q, %v", got, err)
	}
	buf := make([]byte, 10)
	if n, err := unix.Getxattr(filepath.Join(dir, "small"), "user.small", buf); err != nil || string(buf[:n]) != "v" {
		t.Errorf("an attribute that fits: %q, %v", buf, err)
	}
	said := stats.Lost.String()
	if stats.Lost.Count() != 2 || !strings.Contains(said, "etc/large: attribute user.large") || !strings.Contains(said, "labelled: attribute security.selinux") {
		t.Errorf("said: %s", said)
	}
}

func TestACLsAndSquashfs(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	must(t, os.WriteFile(filepath.Join(src, "file"), []byte("text"), 0o640))
	acl := []byte("\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x21\x00\x00\x00\x04\x00\x00\x00\xff\xff\xff\xff\x10\x00\x04\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff")
	must(t, unix.Setxattr(filepath.Join(src, "file"), "system.posix_acl_access", acl, 0))
	must(t, unix.Setxattr(filepath.Join(src, "file"), "user.kept", []byte("v"), 0))
	must(t, unix.Mkfifo(filepath.Join(src, "pipe"), 0o640))
	must(t, unix.Setxattr(filepath.Join(src, "pipe"), "system.posix_acl_access", acl, 0))
	must(t, os.Symlink("file", filepath.Join(src, "link")))
	must(t, unix.Lsetxattr(filepath.Join(src, "link"), "trusted.note", []byte("v"), 0))
	for _, name := range []string{"gzip", "squashfs"} {
		c, err := ParseCompression(name)
		must(t, err)
		f := fileOf(t, nil)
		w, err := c.Compress(context.Background(), f, nil)
		must(t, err)
		p := NewPacker(context.Background(), w)
		p.NoACLs = !c.ACLs()
		must(t, errors.Join(p.AddTree(src, "."), p.Close(), w.Close()))
		dir := t.TempDir()
		if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := unix.Getxattr(filepath.Join(dir, "file"), "user.kept", buf); err != nil || string(buf[:n]) != "v" {
			t.Errorf("%s: user.kept is %q, %v", name, buf[:max(n, 0)], err)
		}
		said := p.Omitted.String()
		for _, kind := range []string{"file", "pipe"} {
			at := filepath.Join(dir, kind)
			// The owning group has nothing; the bits of the mask must not become its own.
			if info, err := os.Stat(at); err != nil || c.ACLs() != (info.Mode().Perm() == 0o640) || !c.ACLs() && info.Mode().Perm() != 0o600 {
				t.Errorf("%s, %s: %v, %v", name, kind, info.Mode(), err)
			}
			n, err := unix.Getxattr(at, "system.posix_acl_access", buf)
			if kept := err == nil && bytes.Equal(buf[:n], acl); kept != c.ACLs() {
				t.Errorf("%s, %s: ACL kept: %v, %v", name, kind, kept, err)
			}
			if strings.Contains(said, kind+": this format cannot hold system.posix_acl_access") == c.ACLs() {
				t.Errorf("%s, %s: said %q", name, kind, said)
			}
		}
		if !strings.Contains(said, "link: attribute trusted.note belongs to this host") {
			t.Errorf("%s: said %q", name, said)
		}
	}
}

// Of a folder that comes twice the last member says what it is like, too.
func TestTheLastMemberOfAFolderCounts(t *testing.T) {
	needRoot(t)
	first, last := dirItem("d/"), dirItem("d/")
	first.h.Mode, last.h.Mode = 0o755, 0o700
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), fileOf(t, build(t, first, regular("d/f", "x"), last)), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "d")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// A file may be older than Unix.
func TestTimesBefore1970AreKept(t *testing.T) {
	needRoot(t)
	old := time.Date(1960, 1, 1, 0, 0, 0, 500_000_000, time.UTC)
	dated := func(i item) item {
		i.h.ModTime, i.h.Format = old, tar.FormatPAX
		return i
	}
	dir := t.TempDir()
	unpackInto(t, dir, build(t, dated(regular("f", "x")), dated(link("l", "f")), dated(dirItem("d"))))
	var packed bytes.Buffer
	p := NewPacker(context.Background(), &packed)
	must(t, p.AddTree(dir, ""))
	must(t, p.Close())
	again := t.TempDir()
	unpackInto(t, again, packed.Bytes())
	for _, name := range []string{"f", "l", "d"} {
		for at, whole := range map[string]time.Duration{dir: 1, again: time.Second} {
			info, err := os.Lstat(filepath.Join(at, name))
			must(t, err)
			if got := info.ModTime(); got.Sub(old).Abs() >= whole {
				t.Errorf("%s has the time %s, want %s", name, got.UTC(), old)
			}
		}
	}
}

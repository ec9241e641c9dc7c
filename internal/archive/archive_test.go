package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
)

// item is one entry of a test archive.
type item struct {
	h    tar.Header
	data string
}

func build(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, it := range items {
		if it.h.Size == 0 {
			it.h.Size = int64(len(it.data))
		}
		if it.h.Mode == 0 {
			it.h.Mode = 0o755
		}
		if err := w.WriteHeader(&it.h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(it.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func fileOf(t testing.TB, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "archive"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: owners and devices")
	}
}

func dirItem(name string) item { return item{h: tar.Header{Name: name, Typeflag: tar.TypeDir}} }
func link(name, target string) item {
	return item{h: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}}
}
func hard(name, target string) item {
	return item{h: tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}}
}
func regular(name, data string) item {
	return item{h: tar.Header{Name: name, Typeflag: tar.TypeReg}, data: data}
}
func device(name string, kind byte, major, minor int64) item {
	return item{h: tar.Header{Name: name, Typeflag: kind, Devmajor: major, Devminor: minor}}
}

func TestHostileArchivesAreRefusedAndLeaveNothing(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	good := regular("a-good-file", "x")
	whole := build(t, good, regular("big", strings.Repeat("y", 5000)))
	cases := map[string][]byte{
		"dot dot":                        build(t, good, regular("../x", "x")),
		"dot dot inside":                 build(t, good, regular("a/../../x", "x")),
		"absolute with dots":             build(t, good, regular("/../tmp/x", "x")),
		"file through link":              build(t, good, link("l", outside), regular("l/x", "x")),
		"file through link to link":      build(t, good, link("l", "."), link("m", "l"), regular("m/x", "x")),
		"directory through link":         build(t, good, link("l", outside), dirItem("l/d")),
		"link through link":              build(t, good, link("l", outside), link("l/d", "x")),
		"device through link":            build(t, good, link("l", outside), device("l/null", tar.TypeChar, 1, 3)),
		"hard link target through link":  build(t, good, link("l", "/etc"), hard("p", "l/passwd")),
		"hard link through link":         build(t, good, link("l", outside), hard("l/p", "a-good-file")),
		"hard link outside":              build(t, good, hard("p", "../../etc/passwd")),
		"hard link absolute":             build(t, good, hard("p", "/etc/passwd")),
		"hard link to nothing":           build(t, good, hard("p", "q")),
		"hard link to directory":         build(t, good, dirItem("d"), hard("p", "d")),
		"directory swapped for link":     build(t, good, dirItem("d"), link("d", outside), regular("d/x", "x")),
		"link swapped for directory":     build(t, good, link("d", outside), dirItem("d"), regular("d/x", "x")),
		"file written through link":      build(t, good, link("f", outside+"/f"), regular("f", "x")),
		"file twice by another spelling": build(t, good, regular("f", "1"), regular("./x/../f", "2")),
		"file as directory":              build(t, good, regular("f", "1"), regular("f/g", "2")),
		"top is a link":                  build(t, link(".", outside)),
		"top is a file":                  build(t, regular(".", "x")),
		"huge name":                      build(t, good, regular(strings.Repeat("n", 300), "x")),
		"deep":                           build(t, good, regular(strings.Repeat("d/", maxDepth)+"f", "x")),
		"cut in a file":                  whole[:2048],
		"cut in a header":                whole[:700],
		"not a header":                   append(append([]byte(nil), whole[:1024]...), bytes.Repeat([]byte("junk"), 256)...),
		"data after the end":             append(append([]byte(nil), whole...), make([]byte, maxTrailer+1024)...),
		"empty link":                     build(t, good, link("l", "")),
	}
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := Unpack(context.Background(), fileOf(t, data), dir, Options{})
			if err == nil {
				t.Fatal("was accepted")
			}
			if !errors.Is(err, ErrRefused) {
				t.Fatalf("error is not ErrRefused: %v", err)
			}
			left, _ := os.ReadDir(dir)
			if len(left) > 0 {
				t.Fatalf("left behind: %v", left)
			}
		})
	}
	if left, _ := os.ReadDir(outside); len(left) > 0 {
		t.Fatalf("written outside: %v", left)
	}
}

func TestAbsoluteNamesStayInside(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	data := build(t, dirItem("/"), regular("//etc/inittab", "x"), hard("/etc/again", "/etc/inittab"))
	if _, err := Unpack(context.Background(), fileOf(t, data), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"etc/inittab", "etc/again"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "x" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestUnpackRefusesAFolderThatIsNotEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Unpack(context.Background(), fileOf(t, build(t, regular("f", "x"))), dir, Options{}); err == nil {
		t.Fatal("was accepted")
	}
	if _, err := os.Stat(filepath.Join(dir, "mine")); err != nil {
		t.Fatal(err)
	}
}

func TestCancelledUnpackLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	f := fileOf(t, build(t, regular("a", "x"), regular("b", "x")))
	_, err := Unpack(ctx, f, dir, Options{Select: func(name string, _ Kind) (string, error) {
		if name == "b" {
			cancel()
		}
		return name, nil
	}})
	cancel()
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

// sample makes a folder with one of everything.
func sample(t testing.TB) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(at("etc/sub/deep"), 0o755))
	must(os.WriteFile(at("etc/passwd"), []byte("root:x:0:0\n"), 0o644))
	must(os.Chown(at("etc/passwd"), 1000, 1001))
	must(os.WriteFile(at("su"), []byte("program"), 0o755))
	must(os.Chown(at("su"), 5, 6))
	must(os.Chmod(at("su"), 0o755|os.ModeSetuid))
	must(os.Link(at("su"), at("etc/sub/also-su")))
	must(os.Symlink("/etc/passwd", at("link")))
	must(os.Lchown(at("link"), 7, 8))
	must(os.WriteFile(at("ping"), []byte("program"), 0o755))
	capability := []byte{1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	must(unix.Setxattr(at("ping"), "security.capability", capability, 0))
	must(unix.Mkfifo(at("pipe"), 0o620))
	must(unix.Mknod(at("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	holes, err := os.Create(at("holes"))
	must(err)
	_, err = holes.WriteAt([]byte("end"), 8<<20)
	must(err)
	must(holes.Close())
	must(os.Chmod(at("etc/sub/deep"), 0o500))
	must(os.Chtimes(at("etc/sub/deep"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	must(os.Chtimes(at("etc"), time.Unix(1_100_000_000, 0), time.Unix(1_100_000_000, 0)))
	return dir
}

// describe lists everything that an archive must keep of a folder.
func describe(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	inodes := map[uint64]string{}
	err := filepath.Walk(dir, func(p string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		if name == "." {
			return nil
		}
		var s unix.Stat_t
		if err := unix.Lstat(p, &s); err != nil {
			return err
		}
		b.WriteString(name + " " + info.Mode().String())
		b.WriteString(" " + time.Unix(s.Mtim.Sec, 0).UTC().Format(time.RFC3339))
		b.WriteString(" " + strings.Join([]string{itoa(s.Uid), itoa(s.Gid), itoa(uint32(s.Rdev))}, ":"))
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			b.WriteString(" " + itoa(uint32(len(data))) + strings.Trim(string(data[max(0, len(data)-10):]), "\x00"))
			buf := make([]byte, 100)
			if n, err := unix.Lgetxattr(p, "security.capability", buf); err == nil {
				b.WriteString(" cap" + string(buf[:n]))
			}
			if s.Nlink > 1 {
				if inodes[s.Ino] == "" {
					inodes[s.Ino] = name
				}
				b.WriteString(" = " + inodes[s.Ino])
			}
		} else if info.Mode()&os.ModeSymlink != 0 {
			target, _ := os.Readlink(p)
			b.WriteString(" -> " + target)
		}
		b.WriteString("\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func itoa(n uint32) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestEverythingSurvivesPackingAndUnpackingInEachFormat(t *testing.T) {
	src := sample(t)
	want := describe(t, src)
	for _, name := range []string{"none", "gzip", "gzip -9", "gzip --rsyncable", "bzip2", "xz", "lzma", "zstd", "zstd -19", "squashfs"} {
		t.Run(name, func(t *testing.T) {
			c, err := ParseCompression(name)
			if err != nil {
				t.Fatal(err)
			}
			f := fileOf(t, nil)
			w, err := c.Compress(context.Background(), f, nil)
			if err != nil {
				t.Fatal(err)
			}
			p := NewPacker(context.Background(), w)
			for _, err := range []error{p.AddTree(src, "."), p.Close(), w.Close()} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got, err := DetectFile(f); err != nil || got != c.Format {
				t.Fatalf("format is %s, %v", got, err)
			}
			dir := t.TempDir()
			if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
				t.Fatal(err)
			}
			if got := describe(t, dir); got != want {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
			var st unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, "holes"), &st); err != nil || st.Blocks*512 > 1<<20 {
				t.Fatalf("holes were filled: %d blocks, %v", st.Blocks, err)
			}
			truncated(t, f)
		})
	}
}

// truncated cuts the archive short and expects that to be noticed.
func truncated(t *testing.T, f *os.File) {
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(info.Size() / 8); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), f, dir, Options{}); err == nil {
		t.Fatal("a truncated archive was accepted")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestUnpackReadsWhatTarWrites(t *testing.T) {
	src := sample(t)
	want := describe(t, src)
	for _, args := range [][]string{
		{"--format=gnu", "--sparse", "--no-xattrs"},
		{"--format=pax", "--sparse", "--xattrs", "--xattrs-include=*"},
		{"--format=gnu", "--sparse", "--incremental", "--gzip"}, // a backup
		{"--format=gnu", "--sparse", "--label=a label", "--gzip"},
	} {
		t.Run(strings.Join(args[:3], " "), func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "a.tar")
			cmd := exec.Command("tar", append(args, "--numeric-owner", "-C", src, "-cf", out, ".")...)
			if msg, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, msg)
			}
			f, err := os.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			dir := t.TempDir()
			if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
				t.Fatal(err)
			}
			expect := want
			if args[0] == "--format=gnu" {
				expect = strings.Replace(want, want[strings.Index(want, " cap"):strings.Index(want[strings.Index(want, " cap"):], "\n")+strings.Index(want, " cap")], "", 1)
			}
			if got := describe(t, dir); got != expect {
				t.Fatalf("got\n%s\nwant\n%s", got, expect)
			}
		})
	}
}

func TestParseCompressionRefusesWhatIsNotListed(t *testing.T) {
	for _, bad := range []string{"", "rm", "gzip -c;id", "gzip --suffix=x", "gzip -19", "xz --files=/etc/passwd", "squashfs -9", "gzip -f", "zstd --rm", "none -1", "zstd -20"} {
		if _, err := ParseCompression(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(build(f, regular("a", "x"), link("l", "/etc"), hard("h", "a"), dirItem("d")))
	f.Add(build(f, regular("../a", "x")))
	f.Add(build(f, link("l", "/tmp"), regular("l/x", "x")))
	f.Add([]byte("\x1f\x8b\x08"))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	f.Add([]byte("BZh9"))
	f.Fuzz(func(t *testing.T, data []byte) {
		format, err := Detect(data)
		if err != nil || format == Xz || format == Lzma || format == Squashfs || format == Gzip && len(data) >= igzipFrom {
			return // read by other programs
		}
		parent := t.TempDir()
		dir := filepath.Join(parent, "in")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err = Unpack(context.Background(), fileOf(t, data), dir, Options{Room: diskspace.New(dir, "the pool", 1<<20)})
		if left, _ := os.ReadDir(dir); err != nil && len(left) > 0 {
			t.Fatalf("left behind: %v after %v", left, err)
		}
		if out, _ := os.ReadDir(parent); len(out) != 1 {
			t.Fatalf("written outside: %v", out)
		}
	})
}

func BenchmarkUnpackBusybox(b *testing.B) {
	needRoot(b)
	items := []item{dirItem("bin"), regular("bin/busybox", strings.Repeat("busybox ", 250_000))}
	for i := range 400 {
		items = append(items, link("bin/applet"+itoa(uint32(i)), "busybox"))
	}
	f := fileOf(b, build(b, items...))
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		b.StartTimer()
		if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

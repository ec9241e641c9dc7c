package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holes makes a sparse file with some data at each offset.
func holes(t *testing.T, path string, size int64, offsets ...int64) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for _, at := range offsets {
		_, err := f.WriteAt([]byte("data at "+itoa(uint32(at))), at)
		must(t, err)
	}
	must(t, f.Truncate(size))
}

// alike fails unless two files have the same size, content and owner, and the second is sparse.
func alike(t *testing.T, want, got string) {
	t.Helper()
	var a, b unix.Stat_t
	must(t, errors.Join(unix.Stat(want, &a), unix.Stat(got, &b)))
	if a.Size != b.Size || a.Uid != b.Uid || a.Mode != b.Mode || a.Mtim.Sec != b.Mtim.Sec || b.Blocks > a.Blocks+64 {
		t.Errorf("%s: size %d, uid %d, mode %o, time %d, %d blocks; want %d, %d, %o, %d, %d", filepath.Base(got), b.Size, b.Uid, b.Mode, b.Mtim.Sec, b.Blocks, a.Size, a.Uid, a.Mode, a.Mtim.Sec, a.Blocks)
	}
	if a.Size > 1<<30 {
		return
	}
	if digest(t, want) != digest(t, got) {
		t.Errorf("%s has another content", filepath.Base(got))
	}
}

func digest(t *testing.T, path string) (sum [32]byte) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	copy(sum[:], h.Sum(nil))
	return sum
}

func TestSparseFilesArePackedWithoutTheirHoles(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	long := strings.Repeat("long/", 30) + "ü \t=name"
	must(t, os.MkdirAll(filepath.Join(src, filepath.Dir(long)), 0o755))
	const mib = 1 << 20
	for name, c := range map[string]struct {
		size    int64
		offsets []int64
	}{
		"lastlog": {1200 * mib, nil}, "at-the-start": {64 * mib, []int64{0}}, "at-the-end": {64 * mib, []int64{64*mib - 20}}, "between": {64*mib + 7, []int64{mib, 20 * mib, 20*mib + 8192}},
		"small": {mib, []int64{4096}}, "nearly-full": {8192, []int64{4096}}, "odd": {2*mib + 1, nil}, long: {10 * mib, []int64{mib}},
	} {
		holes(t, filepath.Join(src, name), c.size, c.offsets...)
	}
	at := func(name string) string { return filepath.Join(src, name) }
	must(t, os.Link(at("between"), at("again")))
	must(t, os.Chown(at("between"), 1<<31, 33))
	must(t, os.Chmod(at("between"), 0o640))
	must(t, unix.Setxattr(at("between"), "user.x", []byte("a=b\n"), 0))
	must(t, os.Chtimes(at("small"), time.Time{}, time.Unix(1_000_000_000, 0)))
	must(t, os.WriteFile(at("zz-last"), []byte("plain"), 0o600))

	tarball := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(tarball)
	must(t, err)
	defer f.Close()
	p := NewPacker(context.Background(), f)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	if info, err := f.Stat(); err != nil || info.Size() > mib {
		t.Errorf("the archive has %d bytes, %v", info.Size(), err)
	}
	ours, theirs := t.TempDir(), t.TempDir()
	if _, err := Unpack(context.Background(), f, ours, Options{}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-C", theirs, "--xattrs", "--numeric-owner", "-xpf", tarball).CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("GNU tar: %v: %s", err, out)
	}
	for _, dir := range []string{ours, theirs} {
		for _, name := range []string{"lastlog", "at-the-start", "at-the-end", "between", "again", "small", "nearly-full", "odd", long, "zz-last"} {
			alike(t, at(name), filepath.Join(dir, name))
		}
		buf := make([]byte, 10)
		if n, err := unix.Getxattr(filepath.Join(dir, "between"), "user.x", buf); err != nil || string(buf[:n]) != "a=b\n" {
			t.Errorf("attribute: %q, %v", buf[:max(n, 0)], err)
		}
	}
}

func TestSparseImagesInEachFormat(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	holes(t, filepath.Join(src, "file"), 100<<20, 50<<20)
	for _, name := range []string{"gzip", "zstd", "xz", "bzip2", "squashfs"} {
		c, err := ParseCompression(name)
		must(t, err)
		f := fileOf(t, nil)
		w, err := c.Compress(context.Background(), f, nil)
		must(t, err)
		p := NewPacker(context.Background(), w)
		must(t, errors.Join(p.AddTree(src, "."), p.Close(), w.Close()))
		if info, err := f.Stat(); err != nil || info.Size() > 16<<10 {
			t.Errorf("%s: the archive has %d bytes, %v", name, info.Size(), err)
		}
		dir := t.TempDir()
		if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		alike(t, filepath.Join(src, "file"), filepath.Join(dir, "file"))
	}
}

// A file of nothing but small holes would make a map larger than itself.
func TestTheMapOfASparseFileIsBounded(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	var offsets []int64
	for i := range int64(maxExtents + 10) {
		offsets = append(offsets, i*3*4096)
	}
	holes(t, filepath.Join(src, "file"), (maxExtents+10)*3*4096, offsets...)
	var b bytes.Buffer
	p := NewPacker(context.Background(), &b)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	if bytes.Contains(b.Bytes(), []byte("GNU.sparse")) {
		t.Error("it was packed with a map")
	}
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), fileOf(t, b.Bytes()), dir, Options{}); err != nil {
		t.Fatal(err)
	}
	if digest(t, filepath.Join(src, "file")) != digest(t, filepath.Join(dir, "file")) {
		t.Error("it has another content")
	}
}

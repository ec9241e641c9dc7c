package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/treecopy"
)

// heap is how much memory is in use, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A guest makes long names for nothing, and a packer that kept each name of a linked file took gigabytes of the daemon's memory.
func TestLinksBelowLongNamesTakeLittleMemory(t *testing.T) {
	src := t.TempDir()
	t.Cleanup(func() { _ = treecopy.RemoveTree(context.Background(), src) })
	fd, err := unix.Open(src, unix.O_PATH, 0)
	must(t, err)
	for range 255 {
		name := strings.Repeat("d", 250)
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_PATH, 0)
		must(t, errors.Join(err, unix.Close(fd)))
		fd = next
	}
	const files = 200
	for i := range files {
		name := fmt.Sprintf("file%d", i)
		must(t, unix.Mknodat(fd, name, unix.S_IFREG|0o644, 0))
		must(t, unix.Linkat(fd, name, fd, "link-"+name, 0))
	}
	must(t, unix.Close(fd))
	p := NewPacker(context.Background(), io.Discard)
	before := heap()
	must(t, p.AddTree(src, "rootfs"))
	const most = 4 << 20
	if n := heap() - before; n > most {
		t.Errorf("%d KiB are kept for %d files", n>>10, files)
	}
	must(t, p.Close())
}

// More attributes than a PAX header holds made an image that nothing could unpack, or none at all.
func TestMoreAttributesThanAnArchiveHolds(t *testing.T) {
	top := loopfs.Mount(t, "xfs")
	src, dir := filepath.Join(top, "src"), t.TempDir()
	must(t, os.Mkdir(src, 0o755))
	for name, size := range map[string]int64{"plain": 100, "sparse": 10 << 20} {
		file := filepath.Join(src, name)
		must(t, os.WriteFile(file, nil, 0o644))
		must(t, os.Truncate(file, size))
		must(t, unix.Setxattr(file, "user.first", []byte("kept"), 0))
		for i := range 32 {
			must(t, unix.Setxattr(file, fmt.Sprintf("user.large%d", i), make([]byte, 1<<16), 0))
		}
	}
	f := fileOf(t, nil)
	p := NewPacker(context.Background(), f)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	// Only the first are named: those of the file that came first.
	if n := p.Omitted.Count(); n < 2 || n > 2*32 || !strings.Contains(p.Omitted.String(), ": attribute user.large") {
		t.Errorf("%d are omitted: %s", n, &p.Omitted)
	}
	if _, err := Unpack(context.Background(), f, dir, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"plain", "sparse"} {
		alike(t, filepath.Join(src, name), filepath.Join(dir, name))
	}
}

package treecopy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPath(t *testing.T) {
	var top *Path
	for _, tt := range []struct {
		path *Path
		want string
	}{
		{top, "."}, {top.Join("a"), "a"}, {top.Join("a").Join("bc").Join("d"), "a/bc/d"}, {top.Join("rootfs/etc").Join("passwd"), "rootfs/etc/passwd"},
	} {
		if got := tt.path.String(); got != tt.want || tt.path.Len() != len(tt.want) {
			t.Errorf("%q of %d bytes, want %q", got, tt.path.Len(), tt.want)
		}
	}
}

// deepest makes folders in each other and opens the last.
func deepest(t *testing.T, top string, depth int, name string) int {
	t.Helper()
	fd, err := unix.Open(top, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	must(t, err)
	for range depth {
		must(t, unix.Mkdirat(fd, name, 0o755))
		next, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, errors.Join(err, unix.Close(fd)))
		fd = next
	}
	return fd
}

// used calls f and tells how much more memory was in use meanwhile, at most, in bytes.
func used(f func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapAlloc, m.HeapAlloc
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		select {
		case <-done:
			tick.Stop()
			return most - before
		case <-tick.C:
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
	}
}

// A guest makes long names for nothing, and a copy that kept each of them took gigabytes of the daemon's memory.
func TestLongNamesTakeLittleMemory(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	t.Cleanup(func() {
		for _, dir := range []string{src, dst} {
			must(t, errors.Join(RemoveTree(context.Background(), dir), os.Mkdir(dir, 0o700)))
		}
	})
	const depth, files = MaxDepth - 50, 400
	fd := deepest(t, src, depth, strings.Repeat("d", 250))
	for i := range files {
		name := fmt.Sprintf("file%d", i)
		must(t, unix.Mknodat(fd, name, unix.S_IFREG|0o644, 0))
		must(t, unix.Linkat(fd, name, fd, "link-"+name, 0))
	}
	must(t, unix.Close(fd))
	const most = 64 << 20
	if n := used(func() { must(t, Copy(context.Background(), dst, src, Options{})) }); n > most {
		t.Errorf("%d MiB for %d files", n>>20, files)
	}
}

// Names that are too long for the kernel to take at once were names of one file no more: a copy could take a thousand times the space.
func TestHardLinksBelowLongNames(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	t.Cleanup(func() {
		for _, dir := range []string{src, dst} {
			must(t, errors.Join(RemoveTree(context.Background(), dir), os.Mkdir(dir, 0o700)))
		}
	})
	const depth = 40
	name := strings.Repeat("d", 250)
	fd := deepest(t, src, depth, name)
	must(t, unix.Mkdirat(fd, "sub", 0o755))
	must(t, unix.Mknodat(fd, "file", unix.S_IFREG|0o644, 0))
	for _, link := range []string{"link", "sub/link"} {
		must(t, unix.Linkat(fd, "file", fd, link, 0))
	}
	must(t, unix.Close(fd))
	must(t, Copy(context.Background(), dst, src, Options{}))
	fd, err := unix.Open(dst, unix.O_PATH, 0)
	must(t, err)
	for range depth {
		next, err := unix.Openat(fd, name, unix.O_PATH, 0)
		must(t, errors.Join(err, unix.Close(fd)))
		fd = next
	}
	var st unix.Stat_t
	must(t, errors.Join(unix.Fstatat(fd, "file", &st, 0), unix.Close(fd)))
	if st.Nlink != 3 {
		t.Errorf("the file has %d names, want 3", st.Nlink)
	}
}

package subvolume

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/loopfs"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func gone(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there (%v)", path, err)
	}
}

func TestCloneIsIndependent(t *testing.T) {
	top, fs := loopfs.Mount(t, "btrfs"), FS{}
	src, dst, frozen := filepath.Join(top, "src"), filepath.Join(top, "dst"), filepath.Join(top, "frozen")
	must(t, fs.Make(src))
	var st unix.Stat_t
	must(t, unix.Stat(src, &st))
	if st.Mode&0o7777 != 0o700 {
		t.Errorf("new subvolume has mode %o", st.Mode)
	}
	must(t, os.WriteFile(filepath.Join(src, "file"), []byte("one"), 0o640))
	must(t, fs.Clone(dst, src, false))
	must(t, fs.Clone(frozen, dst, true))
	must(t, os.WriteFile(filepath.Join(dst, "file"), []byte("two"), 0))
	for path, want := range map[string]string{src: "one", dst: "two", frozen: "one"} {
		if got, err := os.ReadFile(filepath.Join(path, "file")); err != nil || string(got) != want {
			t.Errorf("%s holds %q (%v), want %q", path, got, err, want)
		}
	}
	if err := os.WriteFile(filepath.Join(frozen, "file"), nil, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("a frozen clone was written to: %v", err)
	}
	if err := fs.Clone(dst, src, false); !errors.Is(err, os.ErrExist) {
		t.Errorf("a clone in a place that is taken: %v", err)
	}
	for _, path := range []string{src, dst, frozen, frozen} {
		must(t, fs.Remove(context.Background(), path))
		gone(t, path)
	}
}

func TestPlainFoldersAreLeftToOthers(t *testing.T) {
	top, fs := loopfs.Mount(t, "btrfs"), FS{}
	plain := filepath.Join(top, "plain")
	must(t, os.Mkdir(plain, 0o700))
	if err := fs.Clone(filepath.Join(top, "dst"), plain, false); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("clone of a folder: %v", err)
	}
	if err := fs.Remove(context.Background(), plain); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("removal of a folder: %v", err)
	}
	if err := fs.Clone(filepath.Join(top, "dst"), filepath.Join(top, "none"), false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("clone of nothing: %v", err)
	}
	gone(t, filepath.Join(top, "dst"))
	if !On(top) || On("/proc") || On(filepath.Join(top, "none")) {
		t.Error("btrfs is not told from other file systems")
	}
}

// TestSubvolumesWithin makes what docker makes inside a guest: subvolumes, deep, in great number, and frozen ones.
func TestSubvolumesWithin(t *testing.T) {
	top, fs := loopfs.Mount(t, "btrfs"), FS{}
	src, dst := filepath.Join(top, "src"), filepath.Join(top, "dst")
	must(t, fs.Make(src))
	must(t, os.MkdirAll(filepath.Join(src, "a/b"), 0o700))
	for i := range 150 { // more than one search returns
		must(t, fs.Make(filepath.Join(src, "a/b", fmt.Sprint("s", i))))
	}
	deep := filepath.Join(src, "a/b/s7")
	for range 5 {
		deep = filepath.Join(deep, "deeper")
		must(t, fs.Make(deep))
		must(t, os.WriteFile(filepath.Join(deep, "file"), nil, 0o600))
	}
	must(t, fs.Clone(filepath.Join(src, "frozen"), deep, true))
	if err := fs.Clone(dst, src, false); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("clone that would be without what is within: %v", err)
	}
	gone(t, dst)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := fs.Remove(ctx, src); !errors.Is(err, context.Canceled) {
		t.Errorf("removal went on: %v", err)
	}
	must(t, fs.Remove(context.Background(), src))
	gone(t, src)
}

func TestNamesAreOneElement(t *testing.T) {
	for _, name := range []string{"", ".", "..", "a/b", "a\x00b", string(make([]byte, 300))} {
		if err := (&removal{}).setName(name); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzParseFound(f *testing.F) {
	f.Add([]byte{}, uint32(1))
	item := make([]byte, foundHeader+8)
	binary.NativeEndian.PutUint64(item[16:], 300)
	binary.NativeEndian.PutUint32(item[28:], 8)
	f.Add(append(item, item...), uint32(2))
	f.Fuzz(func(t *testing.T, data []byte, items uint32) {
		if n := len(parseFound(data, items)); n > len(data)/foundHeader {
			t.Errorf("%d numbers in %d bytes", n, len(data))
		}
	})
}

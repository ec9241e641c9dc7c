package archive

import (
	"archive/tar"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/diskspace"
)

func TestWhatIsMadeIsHeldToTheRoom(t *testing.T) {
	needRoot(t)
	many := func(make func(n string) item) []byte {
		var items []item
		for i := range 1000 {
			items = append(items, make(strconv.Itoa(i)))
		}
		return build(t, items...)
	}
	attribute := strings.Repeat("v", 2000)
	for name, data := range map[string][]byte{
		"a large file":        build(t, regular("f", strings.Repeat("x", 2<<20))),
		"small files":         many(func(n string) item { return regular(n, "x") }),
		"directories":         many(dirItem),
		"missing directories": many(func(n string) item { return regular("d"+n+"/e/f/g/h", "") }),
		"attributes": many(func(n string) item {
			return item{h: tar.Header{Name: n, Typeflag: tar.TypeReg, PAXRecords: map[string]string{xattrRecord + "user.x": attribute}}}
		}),
	} {
		dir := t.TempDir()
		_, err := Unpack(context.Background(), fileOf(t, data), dir, Options{Room: diskspace.New(dir, "the pool", 1<<20)})
		var full *diskspace.Full
		if !errors.As(err, &full) {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s: left behind: %v", name, left)
		}
	}
}

func TestHolesTakeNoRoom(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	data := build(t, regular("f", strings.Repeat("\x00", 8<<20)+"end"))
	room := diskspace.New(dir, "the pool", 1<<20)
	if _, err := Unpack(context.Background(), fileOf(t, data), dir, Options{Room: room}); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, "f"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != 8<<20+3 || st.Blocks*512 > 64<<10 || room.Taken() > 64<<10 {
		t.Errorf("%d bytes in %d blocks, %d taken", st.Size, st.Blocks, room.Taken())
	}
}

// smallDisk mounts an ext4 of 64 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	needRoot(t)
	file, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	for _, argv := range [][]string{{"truncate", "-s", "64M", file}, {"mkfs.ext4", "-q", "-F", "-N", "2048", file}, {"mount", "-o", "loop", file, dir}} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	inside := filepath.Join(dir, "in")
	if err := os.Mkdir(inside, 0o700); err != nil {
		t.Fatal(err)
	}
	return inside
}

func TestNoArchiveFillsADisk(t *testing.T) {
	dir := smallDisk(t)
	var before unix.Statfs_t
	if err := unix.Statfs(dir, &before); err != nil {
		t.Fatal(err)
	}
	var inodes []item
	for i := range 3000 {
		inodes = append(inodes, regular(strconv.Itoa(i), ""))
	}
	lowest, lowestInodes := before.Bavail, before.Ffree
	watch := func(string, Kind) {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil {
			lowest, lowestInodes = min(lowest, st.Bavail), min(lowestInodes, st.Ffree)
		}
	}
	big := regular("big", strings.Repeat("x", 6<<20))
	for name, data := range map[string][]byte{
		"blocks": build(t, big, rename(big, "b"), rename(big, "c"), rename(big, "d"), rename(big, "e"), rename(big, "f"), rename(big, "g"), rename(big, "h"), rename(big, "i"), rename(big, "j")),
		"inodes": build(t, inodes...),
	} {
		_, err := Unpack(context.Background(), fileOf(t, data), dir, Options{Select: func(name string, k Kind) (string, error) {
			watch(name, k)
			return name, nil
		}})
		if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "reserve") {
			t.Errorf("%s: %v", name, err)
		}
	}
	reserve := diskspace.Reserve(int64(before.Blocks) * before.Bsize)
	if int64(lowest)*before.Bsize < reserve || lowestInodes == 0 {
		t.Errorf("down to %d bytes and %d inodes; the reserve is %d bytes", int64(lowest)*before.Bsize, lowestInodes, reserve)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func rename(i item, name string) item { i.h.Name = name; return i }

func TestDeviceNodesAreLeftOut(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	data := build(t,
		device("null", tar.TypeChar, 1, 3), device("fuse", tar.TypeChar, 10, 229), device("whiteout", tar.TypeChar, 0, 0),
		device("sda", tar.TypeBlock, 8, 0), hard("disk", "sda"), device("mem", tar.TypeChar, 1, 1), device("kmsg", tar.TypeChar, 1, 11),
		device("tty1", tar.TypeChar, 4, 1), device("odd", tar.TypeChar, 4, -1), device("null-block", tar.TypeBlock, 1, 3), regular("f", "x"))
	stats, err := Unpack(context.Background(), fileOf(t, data), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); got != "f fuse null whiteout" || stats.Nodes.Count() != 7 || !strings.HasPrefix(stats.Nodes.String(), "sda: ") {
		t.Errorf("made %s; left out: %s", got, stats.Nodes)
	}
}

package archive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/fdcount"
)

// TestDescriptorsAreGivenBack unpacks and packs, again and again, what is kept open for a while: more folders than there are handles
// for, tools, and what is given up half way.
func TestDescriptorsAreGivenBack(t *testing.T) {
	var folders []item
	for n := range maxOpenDirs + 4 {
		folders = append(folders, dirItem(fmt.Sprintf("d%d/e", n)))
	}
	items := []item{regular("d/f", "x"), regular("d/g", "y")}
	small := build(t, items...)
	dir := smallDisk(t) // one of its own, which others do not keep busy
	unpacked := func(data []byte, wanted string) func() {
		f := fileOf(t, data)
		return func() {
			_, err := Unpack(context.Background(), f, dir, Options{})
			if (err == nil) != (wanted == "") || err != nil && !strings.Contains(err.Error(), wanted) {
				t.Errorf("%v, want %q", err, wanted)
			}
			if err := Empty(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	tree := t.TempDir()
	if err := os.WriteFile(tree+"/f", []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func(){
		"many folders":    unpacked(build(t, folders...), ""),
		"refused":         unpacked(build(t, append(items, regular("../f", "x"))...), "leads outside"),
		"cut short":       unpacked(small[:700], "cut short"),
		"no archive":      unpacked([]byte("text"), "unknown archive format"),
		"by a tool":       unpacked(xzip(t, small), ""),
		"a tool, refused": unpacked(xzip(t, build(t, append(items, regular("../f", "x"))...)), "leads outside"),
		"packed": func() {
			out := fileOf(t, nil)
			defer out.Close()
			w, err := Compression{Format: Xz}.Compress(context.Background(), out, diskspace.New(dir, "the folder", 0))
			if err != nil {
				t.Fatal(err)
			}
			if err := Finish(w, NewPacker(context.Background(), w).AddTree(tree, "rootfs")); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { fdcount.Steady(t, do) })
	}
}

func xzip(t *testing.T, data []byte) []byte {
	t.Helper()
	if _, err := exec.LookPath("xz"); err != nil {
		t.Skip("needs xz (package xz-utils)")
	}
	cmd := exec.Command("xz", "-0", "--stdout")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestWhatAToolSaysAtTheEndCounts: all of the stream has come by then, and nothing of it is to stay.
func TestWhatAToolSaysAtTheEndCounts(t *testing.T) {
	data := xzip(t, build(t, regular("f", "text")))
	data[bytes.LastIndex(data, []byte("YZ"))-13] ^= 0xff // in the index, behind all blocks (xz-file-format.txt, 2.1)
	dir := t.TempDir()
	if _, err := Unpack(context.Background(), fileOf(t, data), dir, Options{}); err == nil {
		t.Error("it was unpacked")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

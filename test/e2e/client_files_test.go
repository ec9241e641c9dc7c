package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// below lists what is in a folder, links with where they lead.
func below(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.Walk(dir, func(name string, info os.FileInfo, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if link, linkErr := os.Readlink(name); linkErr == nil {
			rel += " -> " + link
		}
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFilesArePulledToWhereTheyAreWanted(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "sh", "-c", `mkdir -p /a/b /x/y && cd /a && echo one > one && echo two > b/two && ln -s b/two rel && ln -s rel chain && ln -s /a/one abs &&
		ln -s loop loop && ln -s nowhere dangling && ln -s /x/y up && echo right > /x/near && echo wrong > near && ln -s ../near /x/y/back`)
	for source, want := range map[string]string{"a/one": "one\n", "a/rel": "two\n", "a/chain": "two\n", "a/abs": "one\n", "a/up/back": "right\n"} {
		if got := d.Berth("file", "pull", "c1/"+source, "-"); got != want {
			t.Errorf("%s to standard output: %q, want %q", source, got, want)
		}
	}
	if got := d.Berth("file", "pull", "c1/a/one", "c1/a/rel", "-"); got != "one\ntwo\n" {
		t.Errorf("two files to standard output: %q", got)
	}
	for source, want := range map[string]string{"a/loop": "too many links", "a/dangling": "Not Found", "a/b": "is a directory"} {
		if got := d.BerthFails("file", "pull", "c1/"+source, "-"); !strings.Contains(got, want) {
			t.Errorf("%s to standard output: %s", source, got)
		}
	}
	// Files of the kernel say that they are empty, or a page long.
	for _, source := range []string{"/proc/version", "/sys/class/net/lo/mtu", "/sys/devices/system/cpu/online"} {
		want := d.Berth("exec", "c1", "--", "cat", source)
		if got := d.Berth("file", "pull", "c1"+source, "-"); got != want {
			t.Errorf("%s to standard output: %q, want %q", source, got, want)
		}
	}
	for _, tt := range []struct{ sources, target, want string }{
		{"c1/a/one", "new/", "new new/one"},
		{"c1/a/one", "deep/er/", "deep deep/er deep/er/one"},
		{"c1/a/one c1/a/b/two", "new", "new new/one new/two"},
		{"c1/a/one", "file", "file"},
		{"-p c1/a/one", "d/file", "d d/file"},
		{"c1/a/rel", "l", "l -> b/two"},
		{"-r c1/a/b", "new", "new new/b new/b/two"},
		{"-r c1/a/b", "deep/er", "deep deep/er deep/er/b deep/er/b/two"},
		{"-r c1/a/one", "file", "file"}, // as without -r
		{"-r c1/a/one c1/a/b", "new", "new new/b new/b/two new/one"},
	} {
		dir := t.TempDir()
		for range 2 { // the second time over what is there
			d.Berth(append(append([]string{"file", "pull"}, strings.Fields(tt.sources)...), dir+"/"+tt.target)...)
			if got := strings.Join(below(t, dir), " "); got != tt.want {
				t.Errorf("%s to %s: %s", tt.sources, tt.target, got)
			}
		}
	}
	d.BerthFails("file", "pull", "c1/a/one", t.TempDir()+"/no/file")
}

func TestATreeIsPulledWhateverItsNames(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "sh", "-c", `mkdir -p "/t/$(printf 'd\200')/%41 é" && cd /t && echo x > "$(printf 'a\377b')" && echo y > "$(printf 'd\200')/%41 é/f" &&
		ln -s "$(printf 'a\377b')" "$(printf 'l\376')" && ln -s f link && echo f > f && ln -s /etc/passwd gone`)
	dir := t.TempDir()
	want := []string{"t", "t/a\xffb", "t/d\x80", "t/d\x80/%41 é", "t/d\x80/%41 é/f", "t/f", "t/gone -> /etc/passwd", "t/l\xfe -> a\xffb", "t/link -> f"}
	for range 2 {
		d.Berth("file", "pull", "-r", "c1/t", dir)
		got := below(t, dir)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	// What is a file now is not written to where the link of an earlier pull led, and a link takes the place of a file.
	d.Berth("exec", "c1", "--", "sh", "-c", "cd /t && rm link f && echo new > link && ln -s link f")
	d.Berth("file", "pull", "-r", "c1/t", dir)
	if data, err := os.ReadFile(dir + "/t/link"); err != nil || string(data) != "new\n" {
		t.Errorf("link: %q, %v", data, err)
	}
	if link, err := os.Readlink(dir + "/t/f"); err != nil || link != "link" {
		t.Errorf("f: %q, %v", link, err)
	}
	d.Berth("file", "push", "-r", dir+"/t", "c1/back", "-p")
	if got := d.Berth("exec", "c1", "--", "find", "/back", "-name", "f"); got != "/back/t/d\x80/%41 é/f\n/back/t/f\n" && got != "/back/t/f\n/back/t/d\x80/%41 é/f\n" {
		t.Errorf("pushed back: %q", got)
	}
}

// TestAPulledTreeWithoutItsSpecialFiles: LXD waits for a writer of the FIFO; the pull ended there and left out all that came after, too.
func TestAPulledTreeWithoutItsSpecialFiles(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1", "-c", "security.privileged=true")
	d.Berth("exec", "c1", "--", "sh", "-c", `mkdir -p /t/m /t/z && echo a > /t/a && mkfifo /t/fifo && mknod /t/m/null c 1 3 && echo z > /t/z/f`)
	if err := unix.Mknod(filepath.Join(d.Dir, "storage-pools/default/containers/c1/rootfs/t/m/sock"), unix.S_IFSOCK|0o666, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, running := range []bool{true, false} {
		if !running {
			d.Berth("stop", "-f", "c1")
		}
		said := d.BerthFails("file", "pull", "-r", "c1/t", dir)
		for _, want := range []string{"/t/fifo: open /t/fifo: not a regular file", "/t/m/null", "/t/m/sock", "3 of what is in /t could not be pulled"} {
			if !strings.Contains(said, want) {
				t.Errorf("running %t: %q is not in: %s", running, want, said)
			}
		}
		got := below(t, filepath.Join(dir, "t"))
		slices.Sort(got)
		if want := []string{"a", "m", "z", "z/f"}; !slices.Equal(got, want) {
			t.Errorf("running %t: got %q, want %q", running, got, want)
		}
		// A file is not written to a FIFO that is in its place.
		if err := os.Remove(filepath.Join(dir, "t/a")); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mkfifo(filepath.Join(dir, "t/a"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if said := d.BerthFails("file", "pull", "c1/t/fifo", dir); !strings.Contains(said, "not a regular file") {
		t.Errorf("the FIFO itself: %s", said)
	}
}

func TestAPushThatFailsLeavesNoFolders(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 2000000000, 0); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{file, "c1/n1/n2/f", "-p"}, {file, "c1/tmp/n1/f", "-p", "--gid", "2000000001"}} {
		if got := d.BerthFails(append([]string{"file", "push"}, args...)...); !strings.Contains(got, "not one of the instance's") {
			t.Errorf("%v: %s", args, got)
		}
	}
	if got := d.Berth("exec", "c1", "--", "find", "/", "-xdev", "-name", "n1"); got != "" {
		t.Errorf("left: %q", got)
	}
	d.Berth("file", "push", file, "c1/n1/n2/f", "-p", "--uid", "7")
	if got := d.Berth("exec", "c1", "--", "stat", "-c", "%u", "/n1/n2/f"); got != "7\n" {
		t.Errorf("owner %q", got)
	}
}

// TestPushesAsLXDHasThem: modes in each notation, and what standard input is called in a folder.
func TestPushesAsLXDHasThem(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	for mode, want := range map[string]string{"640": "640", "0604": "604", "0o4755": "4755", "1777": "1777"} {
		if _, err := d.TryInput("x", harness.Program("berth"), "file", "push", "--mode", mode, "-", "c1/tmp/"+mode); err != nil {
			t.Error(err)
			continue
		}
		if got := d.Berth("file", "pull", "c1/tmp/"+mode, "-"); got != "x" {
			t.Errorf("%s: %q", mode, got)
		}
		info, err := os.Stat(filepath.Join(d.Dir, "storage-pools/default/containers/c1/rootfs/tmp", mode))
		if err != nil {
			t.Fatal(err)
		}
		if got := strconv.FormatUint(uint64(info.Sys().(*syscall.Stat_t).Mode&0o7777), 8); got != want {
			t.Errorf("--mode %s gave %s, want %s", mode, got, want)
		}
	}
	for _, mode := range []string{"999", "-1", "rw", "77777"} {
		if got := d.BerthFails("file", "push", "--mode", mode, "/dev/null", "c1/tmp/f"); !strings.Contains(got, "Invalid mode \""+mode+"\"") {
			t.Errorf("--mode %s: %s", mode, got)
		}
	}
	for _, target := range []string{"c1/root", "c1/home/"} {
		if _, err := d.TryInput("x", harness.Program("berth"), "file", "push", "-", target); err != nil {
			t.Error(err)
		}
		if got := d.Berth("file", "pull", strings.TrimSuffix(target, "/")+"/stdin", "-"); got != "x" {
			t.Errorf("standard input in %s: %q", target, got)
		}
	}
}

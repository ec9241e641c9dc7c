package cli

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// device makes a character device of the kernel's memory driver: 3 is null, 7 is full.
func device(t *testing.T, minor uint32) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "device")
	if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, minor))); err != nil {
		t.Fatal(err)
	}
	return path
}

func isDevice(t *testing.T, path string) bool {
	t.Helper()
	info, err := os.Lstat(path)
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

const exported = "1234567890abcdef1234567890abcdef1234567890abcdef1234567890abcdef"

// exports has the server send an image of one file, of which the last bytes are missing if it is to break off.
func exports(f *fakeServer, content string, breaksOff bool) {
	f.gives("GET /1.0/images", []api.Image{{Fingerprint: exported, Type: "container"}})
	f.gives("GET /1.0/images/"+exported, api.Image{Fingerprint: exported, Type: "container"})
	f.answers["GET /1.0/images/"+exported+"/export"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Disposition", `attachment; filename="image.tar"`)
		length := len(content)
		if breaksOff {
			length += 5
		}
		w.Header().Set("Content-Length", strconv.Itoa(length))
		_, _ = w.Write([]byte(content))
	}
}

// TestAnOutputThatIsADeviceStaysOne: a regular file took the place of /dev/null, for whoever wrote an image there.
func TestAnOutputThatIsADeviceStaysOne(t *testing.T) {
	f := newFake(t)
	exports(f, "image", false)
	null, full := device(t, 3), device(t, 7)
	for _, args := range [][]string{{"image", "build", "busybox", "--output", null}, {"image", "export", exported, null}} {
		// A name that has no ending gets that of the server's file.
		target := args[len(args)-1]
		if args[1] == "export" {
			target += ".tar"
			if err := os.Rename(null, target); err != nil {
				t.Fatal(err)
			}
			null = target
		}
		if got := berth("", args...); got.code != 0 {
			t.Errorf("%v: %+v", args, got)
		}
		if !isDevice(t, null) {
			t.Errorf("%v: the device is gone", args)
		}
	}
	if err := os.Rename(full, full+".tar"); err != nil {
		t.Fatal(err)
	}
	if got := berth("", "image", "export", exported, full); got.code != 1 || !strings.Contains(got.err, "no space left on device") {
		t.Errorf("%+v", got)
	}
	if !isDevice(t, full+".tar") {
		t.Error("an export that fails removes the device that it was to write to")
	}
	if got := berth("", "image", "build", "busybox", "--output", full+".tar"); got.code != 1 || !isDevice(t, full+".tar") {
		t.Errorf("%+v", got)
	}
}

// TestAnExportThatFailsKeepsTheFileOfBefore: it was emptied before the first byte came, and removed when the rest did not.
func TestAnExportThatFailsKeepsTheFileOfBefore(t *testing.T) {
	f := newFake(t)
	dir := t.TempDir()
	target := filepath.Join(dir, "image")
	if err := os.WriteFile(target+".tar", []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	exports(f, "half", true)
	if got := berth("", "image", "export", exported, target); got.code != 1 {
		t.Errorf("%+v", got)
	}
	alone := func(want string) {
		t.Helper()
		data, err := os.ReadFile(target + ".tar")
		if err != nil || string(data) != want {
			t.Errorf("%q instead of %q, %v", data, want, err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("%v, %v", list, err)
		}
	}
	alone("before")
	exports(f, "whole", false)
	if got := berth("", "image", "export", exported, target); got.code != 0 {
		t.Errorf("%+v", got)
	}
	alone("whole")
}

// TestAnExportOfTwoFilesFailsAsOne: the first was there, and the second of an earlier image beside it.
func TestAnExportOfTwoFilesFailsAsOne(t *testing.T) {
	f := newFake(t)
	exports(f, "", false)
	f.answers["GET /1.0/images/"+exported+"/export"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Type", "multipart/form-data; boundary=X")
		_, _ = w.Write([]byte("--X\r\nContent-Disposition: form-data; name=\"metadata\"; filename=\"m.tar\"\r\n\r\nnew\r\n" +
			"--X\r\nContent-Disposition: form-data; name=\"rootfs\"; filename=\"r.tar\"\r\n\r\nne")) // and breaks off
	}
	target := filepath.Join(t.TempDir(), "image")
	for _, name := range []string{target, target + ".root"} {
		if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := berth("", "image", "export", exported, target); got.code != 1 {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{target, target + ".root"} {
		if data, err := os.ReadFile(name); err != nil || string(data) != "before" {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestAnOutputThatIsALinkIsFollowed: the link gave way to the file, and where it leads kept the old one.
func TestAnOutputThatIsALinkIsFollowed(t *testing.T) {
	newFake(t)
	dir := t.TempDir()
	file, link := filepath.Join(dir, "file"), filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for range 2 { // while there is nothing yet, and over what is there
		if got := berth("", "image", "build", "busybox", "--output", link); got.code != 0 {
			t.Fatalf("%+v", got)
		}
		info, err := os.Lstat(file)
		if err != nil || info.Size() < 1000 {
			t.Errorf("%v, %v", info, err)
		}
		if to, err := os.Readlink(link); err != nil || to != file {
			t.Errorf("the link leads to %q, %v", to, err)
		}
		if err := os.Truncate(file, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// TestALinkThatIsPulledReplacesNoDevice: one that the target named was removed for the link.
func TestALinkThatIsPulledReplacesNoDevice(t *testing.T) {
	f := newFake(t)
	f.answers["GET /1.0/instances/c1/files"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("X-LXD-type", "symlink")
		_, _ = w.Write([]byte("/etc/passwd"))
	}
	null := device(t, 3)
	if got := berth("", "file", "pull", "c1/link", null); got.code != 1 || !strings.Contains(got.err, "file exists") {
		t.Errorf("%+v", got)
	}
	if !isDevice(t, null) {
		t.Error("the device is gone")
	}
	link := filepath.Join(t.TempDir(), "link")
	if got := berth("", "file", "pull", "c1/link", link); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if to, err := os.Readlink(link); err != nil || to != "/etc/passwd" {
		t.Errorf("it leads to %q, %v", to, err)
	}
}

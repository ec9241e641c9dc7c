package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

// TestWhatIsLostOfAnImageIsAWarning: it was in the log alone.
func TestWhatIsLostOfAnImageIsAWarning(t *testing.T) {
	d := harness.New(t).Pool()
	src := unpacked(t)
	for n := range 30 {
		try(t, unix.Mknod(filepath.Join(src, "rootfs/dev", "loop"+string(rune('a'+n))), unix.S_IFBLK|0o600, int(unix.Mkdev(7, uint32(n)))))
	}
	try(t, unix.Setxattr(filepath.Join(src, "rootfs/etc/passwd"), "trusted.theirs", []byte("x"), 0))
	file := filepath.Join(t.TempDir(), "image.tar")
	harness.Run(t, nil, "tar", "-C", src, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-cf", file, "metadata.yaml", "templates", "rootfs")
	d.Berth("image", "import", file, "--alias", "lossy")
	out, err := d.Try("sh", "-c", `"$0" init lossy c1 2>&1`, harness.Program("berth"))
	for _, want := range []string{"Warning: Device nodes of an image are left out: rootfs/dev/loop", "and 20 more", "Warning: Files of an image lack attributes: rootfs/etc/passwd: attribute trusted.theirs"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("%v: %q is not in: %s", err, want, out)
		}
	}
	d.Berth("init", "lossy", "c2") // from the prepared copy
	list := d.Berth("query", "/1.0/warnings?recursion=1")
	for _, want := range []string{"Device nodes of an image are left out", "Files of an image lack attributes", "trusted.theirs", "/1.0/images/"} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in: %s", want, list)
		}
	}
	// A warning of each kind, however many instances; acknowledged and deleted as any, and gone with the image.
	listed := d.Berth("warning", "list", "--format", "csv")
	if strings.Count(listed, "of an image") != 2 || !strings.Contains(listed, "MODERATE") {
		t.Errorf("listed:\n%s", listed)
	}
	for _, line := range strings.Split(listed, "\n") {
		if id, rest, _ := strings.Cut(line, ","); strings.Contains(rest, "Device nodes") {
			d.Stock("warning", "acknowledge", id)
			d.Stock("warning", "delete", id)
		}
	}
	d.Berth("image", "delete", "lossy")
	if listed = d.Berth("warning", "list", "--all", "--format", "csv"); strings.Contains(listed, "of an image") {
		t.Errorf("without the image:\n%s", listed)
	}
	d.Berth("delete", "c1", "c2")
}

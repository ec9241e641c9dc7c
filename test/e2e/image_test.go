package e2e

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// unpacked gives the busybox image as a folder: metadata.yaml, templates/ and rootfs/.
func unpacked(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	harness.Run(t, nil, "tar", "-C", dir, "--numeric-owner", "-xf", harness.Busybox(t))
	return dir
}

func TestEveryFormatOfImageIsTaken(t *testing.T) {
	d := harness.New(t).Pool()
	src, out := unpacked(t), t.TempDir()
	meta := filepath.Join(out, "meta.tar.gz")
	harness.Run(t, nil, "tar", "-C", src, "-czf", meta, "metadata.yaml", "templates")

	unified := map[string][]string{
		"plain": {"-cf"}, "gzip": {"-czf"}, "bzip2": {"-cjf"}, "xz": {"-cJf"}, "zstd": {"--zstd", "-cf"},
	}
	for name, flags := range unified {
		file := filepath.Join(out, name+".img")
		args := append([]string{"-C", src}, flags...)
		harness.Run(t, nil, "tar", append(args, file, "metadata.yaml", "templates", "rootfs")...)
		launchFrom(t, d, name, file)
	}

	squashfs := filepath.Join(out, "root.squashfs")
	harness.Run(t, nil, "mksquashfs", filepath.Join(src, "rootfs"), squashfs, "-quiet", "-no-progress")
	launchFrom(t, d, "squashfs", meta, squashfs)
	rootTar := filepath.Join(out, "root.tar.xz")
	harness.Run(t, nil, "tar", "-C", filepath.Join(src, "rootfs"), "-cJf", rootTar, ".")
	launchFrom(t, d, "split", meta, rootTar)
	launchFrom(t, d, "folder", src)
}

// launchFrom imports an image, runs a container of it, and removes both.
func launchFrom(t *testing.T, d *harness.Daemon, name string, files ...string) {
	t.Helper()
	args := append([]string{"image", "import"}, files...)
	d.Berth(append(args, "--alias", name)...)
	d.Berth("launch", name, "from-"+name)
	if got := d.Berth("exec", "from-"+name, "--", "readlink", "/bin/ls"); !strings.Contains(got, "busybox") {
		t.Errorf("%s: /bin/ls leads to %q", name, got)
	}
	d.Berth("delete", "--force", "from-"+name)
	d.Berth("image", "delete", name)
}

func TestAnExportIsTheSameImageAgain(t *testing.T) {
	d := harness.New(t).Image()
	out := t.TempDir()
	before := d.Berth("image", "list", "--format", "csv", "--columns", "F")
	d.Berth("image", "export", "bb", out)
	d.Berth("image", "delete", "bb")
	files, err := filepath.Glob(out + "/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("exported files: %v, %v", files, err)
	}
	d.Berth("image", "import", files[0])
	if after := d.Berth("image", "list", "--format", "csv", "--columns", "F"); after != before {
		t.Errorf("fingerprint %q became %q", before, after)
	}
}

// hostile makes an image whose root file system holds the given entries after a harmless beginning.
func hostile(t *testing.T, entries ...tar.Header) string {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(h tar.Header, content string) {
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "metadata.yaml", Mode: 0o644, Typeflag: tar.TypeReg}, "architecture: x86_64\ncreation_date: 1\n")
	add(tar.Header{Name: "rootfs/", Mode: 0o755, Typeflag: tar.TypeDir}, "")
	add(tar.Header{Name: "rootfs/sbin/", Mode: 0o755, Typeflag: tar.TypeDir}, "")
	for _, h := range entries {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = "owned\n"
		}
		add(h, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "hostile.tar")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAHostileImageIsRefusedAndLeavesNothing(t *testing.T) {
	d := harness.New(t).Pool()
	outside := filepath.Join(t.TempDir(), "outside")
	for name, entries := range map[string][]tar.Header{
		"dots":      {{Name: "rootfs/../../../../../../../.." + outside, Typeflag: tar.TypeReg, Mode: 0o644}},
		"link":      {{Name: "rootfs/out", Typeflag: tar.TypeSymlink, Linkname: filepath.Dir(outside)}, {Name: "rootfs/out/outside", Typeflag: tar.TypeReg, Mode: 0o644}},
		"hard-link": {{Name: "rootfs/shadow", Typeflag: tar.TypeLink, Linkname: "../../../../../../../../etc/shadow"}},
		"twice":     {{Name: "rootfs/a", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, {Name: "rootfs/a", Typeflag: tar.TypeDir, Mode: 0o755}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.Try(harness.Program("berth"), "image", "import", hostile(t, entries...), "--alias", name)
			if err == nil { // the metadata is harmless: the root file system is looked at when it is unpacked
				_, err = d.Try(harness.Program("berth"), "init", name, "victim-"+name)
				d.Berth("image", "delete", name)
			}
			if err == nil {
				t.Errorf("it was unpacked")
				d.Berth("delete", "victim-"+name)
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Fatal("a file was written outside")
			}
			if got := d.Berth("list", "--format", "csv"); got != "" {
				t.Errorf("an instance is left: %s", got)
			}
		})
	}
}

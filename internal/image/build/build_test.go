package build

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/image"
)

func buildImage(t *testing.T, name, compression string) string {
	t.Helper()
	c, err := archive.ParseCompression(compression)
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := Build(context.Background(), out, Options{Name: name, Compression: c, Progress: func(l string) { t.Log(l) }}); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := archive.Unpack(context.Background(), out, dir, archive.Options{}); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestBusyboxIsAWholeImage(t *testing.T) {
	if _, _, err := hostBusybox(); err != nil || os.Geteuid() != 0 {
		t.Skipf("needs root and a static busybox: %v", err)
	}
	dir := buildImage(t, "busybox", "gzip")
	text, err := os.ReadFile(filepath.Join(dir, "metadata.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := image.DecodeMetadata(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.Properties["os"] != "BusyBox" || m.Templates["/etc/hostname"] == nil {
		t.Fatalf("%+v", m)
	}
	for _, name := range []string{"sbin/init", "bin/sh", "bin/ls", "sbin/udhcpc", "bin/cat"} {
		if target, err := os.Readlink(filepath.Join(dir, "rootfs", name)); err != nil || target != "/bin/busybox" {
			t.Errorf("%s -> %q, %v", name, target, err)
		}
	}
}

func TestDebianBuilds(t *testing.T) {
	if os.Getenv("BERTH_TEST_DEBIAN") == "" {
		t.Skip("needs a Debian mirror and half a minute: set BERTH_TEST_DEBIAN=1")
	}
	dir := buildImage(t, "debian/12", "zstd")
	for _, name := range []string{"sbin/init", "etc/systemd/network/eth0.network", "usr/bin/networkctl"} {
		if _, err := os.Lstat(filepath.Join(dir, "rootfs", name)); err != nil {
			t.Error(err)
		}
	}
}

func TestSources(t *testing.T) {
	etc := t.TempDir()
	if err := os.Mkdir(filepath.Join(etc, "sources.list.d"), 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, data string) {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := aptSources(etc, "bookworm"); err == nil {
		t.Fatal("found sources in nothing")
	}
	write("sources.list", "# deb http://x/ y main\ndeb [arch=amd64 signed-by=/k.gpg] http://mirror.test/debian bookworm main contrib\ndeb-src http://mirror.test/debian bookworm main\ndeb http://other.test/ stable main\n")
	write("sources.list.d/debian.sources", "Types: deb\nURIs: http://security.test/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /s.gpg\n\nTypes: deb\nEnabled: no\nURIs: http://off.test\nSuites: bookworm-updates\nComponents: main\n")
	got, err := aptSources(etc, "bookworm")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, s := range got {
		lines = append(lines, s.line())
	}
	want := []string{
		"deb [signed-by=/k.gpg] http://mirror.test/debian bookworm main",
		"deb [signed-by=/s.gpg] http://security.test/debian-security bookworm-security main",
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Fatal(diff)
	}
	if got, err = aptSources(etc, "trixie"); err != nil || len(got) != 1 || !strings.HasSuffix(got[0].line(), "http://mirror.test/debian trixie main") {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	for _, o := range []Options{{Name: "nope"}, {Name: "debian/1"}, {Name: "debian/12", Variant: "--hook"}, {Name: "debian/12", Mirror: "x; y"}} {
		out, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		o.Compression = archive.Compression{Format: archive.Tar}
		if err := Build(context.Background(), out, o); err == nil {
			t.Errorf("%+v was built", o)
		}
		out.Close()
	}
}

package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

func compressed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// receiveSplit uploads a split image.
func receiveSplit(t *testing.T, s *Service, metadata, rootfs []byte) (*Received, error) {
	t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for _, part := range []struct {
		field, name string
		data        []byte
	}{{"metadata", "first.tar", metadata}, {"rootfs", "second.tar", rootfs}} {
		w, err := m.CreateFormFile(part.field, part.name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(part.data); err != nil {
			t.Fatal(err)
		}
	}
	boundary := m.Boundary()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return s.ReceiveParts(context.Background(), "default", multipart.NewReader(&body, boundary))
}

func importSplit(t *testing.T, s *Service, metadata, rootfs []byte, q Request) (*Received, error) {
	t.Helper()
	r, err := receiveSplit(t, s, metadata, rootfs)
	if err != nil {
		t.Fatal(err)
	}
	q.Project = "default"
	return r, s.Import(r, q).Run(context.Background(), operation.NoProgress{})
}

func metadataTar(t *testing.T) []byte {
	return tarball(t, file{name: "templates/"}, file{name: "templates/a.tpl", data: "a"}, yamlFile)
}

func rootTar(t *testing.T, more ...file) []byte {
	return tarball(t, append([]file{{name: "./"}, {name: "./bin/"}, {name: "./bin/sh", data: "sh"}}, more...)...)
}

func TestTheFilesOfASplitImageAreToldApart(t *testing.T) {
	dir := t.TempDir()
	s, j := newService(t, store.NewMemory(), dir)
	_, err := importSplit(t, s, rootTar(t), metadataTar(t), Request{})
	if api.StatusOf(err) != 400 || !strings.Contains(err.Error(), `Metadata tarball is missing metadata.yaml: it is in the second file, "second.tar", and the first, "first.tar"`) {
		t.Errorf("in the wrong order: %v", err)
	}
	if _, err := importSplit(t, s, rootTar(t), rootTar(t), Request{}); err == nil || err.Error() != "Metadata tarball is missing metadata.yaml" {
		t.Errorf("no metadata at all: %v", err)
	}
	if left := names(t, dir); len(left) > 0 || j.Pending() != 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := importSplit(t, s, metadataTar(t), rootTar(t), Request{}); err != nil {
		t.Errorf("in the right order: %v", err)
	}
	// A root file system may have a file of that name.
	if _, err := importSplit(t, s, metadataTar(t), tarball(t, yamlFile, file{name: "bin/"}), Request{}); err != nil {
		t.Errorf("metadata.yaml in the root, too: %v", err)
	}
}

// tar -r of a changed metadata.yaml.
func TestTheLastMetadataCounts(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	again := strings.Replace(goodMetadata, "os: debian", "os: another", 1)
	data := unified(t, file{name: "metadata.yaml", data: again}, file{name: "rootfs/etc/hostname", data: "second"})
	r, err := importFile(t, s, data, Request{})
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := s.Get(ctx, "default", r.Fingerprint)
	if err != nil || img.Properties["os"] != "another" {
		t.Errorf("%+v, %v", img, err)
	}
	out := t.TempDir()
	if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"metadata.yaml": again, "rootfs/etc/hostname": "second"} {
		if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A fingerprint that is announced is that of all the files, and of what was received.
func TestContentIsWhatItsFingerprintSays(t *testing.T) {
	dir := t.TempDir()
	s, _ := newService(t, store.NewMemory(), dir)
	meta, root := metadataTar(t), rootTar(t)
	r, err := importSplit(t, s, meta, root, Request{})
	if err != nil {
		t.Fatal(err)
	}
	other, _ := newService(t, store.NewMemory(), t.TempDir())
	for name, c := range map[string]struct{ meta, root []byte }{
		"another root":      {meta, rootTar(t, file{name: "more", data: "x"})},
		"another metadata":  {tarball(t, yamlFile, file{name: "templates/"}), root},
		"bytes behind":      {meta, append(bytes.Clone(root), make([]byte, 512)...)},
		"one file for both": {meta, meta},
	} {
		if _, err := importSplit(t, other, c.meta, c.root, Request{Fingerprint: r.Fingerprint}); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "fingerprints don't match") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := importSplit(t, other, meta, root, Request{Fingerprint: r.Fingerprint}); err != nil {
		t.Errorf("the same files: %v", err)
	}
	if left := names(t, other.Dir); len(left) != 2 {
		t.Errorf("files: %v", left)
	}
	// Changed where they lie, each of the files.
	for _, path := range s.paths(r.Fingerprint) {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(bytes.Clone(before[:len(before)-1]), 1), 0o644); err != nil {
			t.Fatal(err)
		}
		out := t.TempDir()
		if err := s.Unpack(context.Background(), "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), nil); err == nil || !strings.Contains(err.Error(), "is damaged") {
			t.Errorf("%s changed: %v", filepath.Base(path), err)
		}
		if left := names(t, out); len(left) > 0 {
			t.Errorf("unpacked: %v", left)
		}
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Each of the files is within the limits, but not all together.
func TestLimitsAreForAllFilesTogether(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, j := newService(t, store.NewMemory(), dir)
	large := strings.Repeat("x", 600<<10)
	meta, root := tarball(t, yamlFile, file{name: "templates/large.tpl", data: large}), rootTar(t, file{name: "large", data: large})
	s.MaxSize = 1 << 20
	if _, err := receiveSplit(t, s, meta, root); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "larger than 1048576 bytes") {
		t.Errorf("an upload of two files: %v", err)
	}
	if left := names(t, dir); len(left) > 0 || j.Pending() != 0 {
		t.Errorf("left: %v", left)
	}
	s.MaxSize = 2 << 20
	r, err := importSplit(t, s, meta, root, Request{})
	if err != nil {
		t.Fatal(err)
	}
	for quota, fits := range map[int64]bool{1 << 20: false, 2 << 20: true} {
		out := t.TempDir()
		room := diskspace.New(out, "the pool", quota)
		if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, room, nil); (err == nil) != fits || err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("unpacked within %d bytes: %v", quota, err)
		}
		if left := names(t, out); (len(left) > 0) != fits {
			t.Errorf("left: %v", left)
		}
	}
}

// modes describes who may reach what on the host.
func modes(t *testing.T, top string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.Walk(top, func(path string, info os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Getuid() || int(st.Gid) != os.Getgid() {
			t.Errorf("%s belongs to %d:%d", path, st.Uid, st.Gid)
		}
		if name, _ := filepath.Rel(top, path); name != "." {
			found[name] = info.Mode().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestModesOnTheHost(t *testing.T) {
	dir := t.TempDir()
	s, _ := newService(t, store.NewMemory(), dir)
	r, err := receiveSplit(t, s, metadataTar(t), tarball(t, file{name: "./bin/sh", data: "sh"}))
	if err != nil {
		t.Fatal(err)
	}
	upload := filepath.Base(r.dir)
	want := map[string]string{upload: "drwx------", upload + "/meta": "-rw-r--r--", upload + "/rootfs": "-rw-r--r--"}
	if diff := cmp.Diff(want, modes(t, dir)); diff != "" {
		t.Errorf("an upload: %s", diff)
	}
	if err := s.Import(r, Request{Project: "default"}).Run(context.Background(), operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{r.Fingerprint: "-rw-r--r--", r.Fingerprint + ".rootfs": "-rw-r--r--"}
	if diff := cmp.Diff(want, modes(t, dir)); diff != "" {
		t.Errorf("an image: %s", diff)
	}
	// What an archive leaves out is made as tar makes it.
	out := t.TempDir()
	if err := s.Unpack(context.Background(), "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), nil); err != nil {
		t.Fatal(err)
	}
	want = map[string]string{
		"metadata.yaml": "-rwxr-xr-x", "templates": "drwxr-xr-x", "templates/a.tpl": "-rwxr-xr-x",
		"rootfs": "drwxr-xr-x", "rootfs/bin": "drwxr-xr-x", "rootfs/bin/sh": "-rwxr-xr-x",
	}
	if diff := cmp.Diff(want, modes(t, out)); diff != "" {
		t.Errorf("unpacked: %s", diff)
	}
}

// published packs a folder as an instance's and gives the image's record.
func published(t *testing.T, content Content, compression string, q Request) *api.Image {
	t.Helper()
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	content.Release = func() error { return nil }
	s.Publish = func(context.Context, string, string) (*Content, error) { return &content, nil }
	q.Project = "default"
	task, err := s.PublishInstance(ctx, "c1", compression, q)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Run(ctx, operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	return s.List(ctx, "default", false)[0]
}

func TestWhatAnInstanceSaysOfItselfGoesIntoItsImage(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := map[string]string{"os": "busybox", "release": "1"}
	content := Content{Dir: dir, Metadata: &api.ImageMetadata{Architecture: "x86_64", CreationDate: 1, ExpiryDate: 2_000_000_000, Properties: own}}
	given, date := map[string]string{"k": "v"}, time.Unix(1_900_000_000, 0).UTC()
	for name, c := range map[string]struct {
		q       Request
		want    map[string]string
		expires time.Time
	}{
		"nothing given": {Request{}, own, time.Unix(2_000_000_000, 0).UTC()},
		"given":         {Request{Properties: given, ExpiresAt: date}, given, date},
		"none wanted":   {Request{Properties: map[string]string{}}, map[string]string{}, time.Unix(2_000_000_000, 0).UTC()},
	} {
		img := published(t, content, "none", c.q)
		if diff := cmp.Diff(c.want, img.Properties); diff != "" || !img.ExpiresAt.Equal(c.expires) || img.CreatedAt.Unix() < 1_600_000_000 {
			t.Errorf("%s: %s; expires %s, created %s", name, diff, img.ExpiresAt, img.CreatedAt)
		}
	}
	if len(own) != 2 {
		t.Errorf("the instance's own were changed: %v", own)
	}
}

// The tool's complaint was hidden behind that of a write to it, with the name of whatever file was next.
func TestAToolThatEndsEarlySaysWhy(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the tool runs as nobody")
	}
	tools, dir := t.TempDir(), t.TempDir()
	for p := tools; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(tools, "tar2sqfs"), []byte("#!/bin/bash\nread -r -n 512 x\necho that will not do >&2\nexit 1\n"), 0o755),
		os.Mkdir(filepath.Join(dir, "rootfs"), 0o755),
		os.WriteFile(filepath.Join(dir, "rootfs/large"), bytes.Repeat([]byte("x"), 8<<20), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	content := &Content{Dir: dir, Metadata: &api.ImageMetadata{Architecture: "x86_64"}, Release: func() error { return nil }}
	s.Publish = func(context.Context, string, string) (*Content, error) { return content, nil }
	task, err := s.PublishInstance(context.Background(), "c1", "squashfs", Request{Project: "default"})
	if err != nil {
		t.Fatal(err)
	}
	err = task.Run(context.Background(), operation.NoProgress{})
	if err == nil || !strings.Contains(err.Error(), "that will not do") || strings.Contains(err.Error(), "large") {
		t.Errorf("it fails with %v", err)
	}
	if left := names(t, s.Dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

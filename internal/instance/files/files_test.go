package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/spec"
)

// folder is an instance whose root is a folder.
type folder struct {
	path     string
	ids      []spec.IDMapEntry
	released *int
}

func (f folder) FilesRoot(_ context.Context, _, name string) (Root, error) {
	if name != "c1" {
		return Root{}, api.NotFound("Instance not found")
	}
	return Root{Path: f.path, IDMap: f.ids, Release: func() { *f.released++ }}, nil
}

func (f folder) LastingRoot(ctx context.Context, project, name string) (Root, error) {
	return f.FilesRoot(ctx, project, name)
}

func service(t *testing.T) (*Service, string) {
	t.Helper()
	dir := t.TempDir()
	for _, sub := range []string{"tmp", "etc"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "etc/passwd"), []byte("root"), 0o644); err != nil {
		t.Fatal(err)
	}
	released := 0
	return New(folder{path: dir, released: &released}, event.Nobody{}), dir
}

func get(t *testing.T, s *Service, path string) (*Object, string) {
	t.Helper()
	o, err := s.Get(t.Context(), "default", "c1", path)
	if err != nil {
		t.Fatalf("get %s: %v", path, err)
	}
	defer o.Close()
	if o.File == nil {
		return o, o.Link
	}
	data, err := io.ReadAll(o.File)
	if err != nil {
		t.Fatal(err)
	}
	return o, string(data)
}

func put(t *testing.T, s *Service, path, body string, p Put) {
	t.Helper()
	if p.Type == "" {
		p.Type = TypeFile
	}
	p.Body = strings.NewReader(body)
	if err := s.Put(t.Context(), "default", "c1", path, p); err != nil {
		t.Fatalf("put %s: %v", path, err)
	}
}

// The order of events and their results are those of LXD 5.0.2.
func TestPutAndGet(t *testing.T) {
	s, _ := service(t)
	perm := fs.FileMode(0o600)
	put(t, s, "/tmp/a", "hello", Put{Mode: &perm})
	put(t, s, "tmp/a", "world", Put{Append: true})
	if o, text := get(t, s, "/tmp/a"); text != "helloworld" || o.Type != TypeFile || o.Info.Mode.Perm() != 0o600 {
		t.Errorf("%q %v", text, o.Info)
	}
	open := fs.FileMode(0o666)
	put(t, s, "/tmp/a", "new", Put{Mode: &open})
	if o, text := get(t, s, "/tmp/a"); text != "new" || o.Info.Mode.Perm() != 0o600 {
		t.Errorf("what exists keeps its mode: %q %v", text, o.Info.Mode)
	}
	put(t, s, "/tmp/plain", "", Put{})
	if o, _ := get(t, s, "/tmp/plain"); o.Info.Mode.Perm() != 0o644 {
		t.Errorf("mode of a file: %v", o.Info.Mode)
	}
	put(t, s, "/tmp/d", "", Put{Type: TypeDirectory})
	put(t, s, "/tmp/d", "", Put{Type: TypeDirectory})
	put(t, s, "/", "", Put{Type: TypeDirectory})
	if o, _ := get(t, s, "/tmp/d"); o.Type != TypeDirectory || o.Info.Mode.Perm() != 0o750 || len(o.Names) > 0 {
		t.Errorf("%v %v", o.Type, o.Info.Mode)
	}
	put(t, s, "/tmp/l", "/etc/passwd", Put{Type: TypeSymlink})
	if o, text := get(t, s, "/tmp/l"); o.Type != TypeSymlink || text != "/etc/passwd" {
		t.Errorf("%v %q", o.Type, text)
	}
	put(t, s, "/tmp/l", "through", Put{})
	if _, text := get(t, s, "/etc/passwd"); text != "through" {
		t.Errorf("written through a link: %q", text)
	}
	put(t, s, "/tmp/new", "/tmp/target", Put{Type: TypeSymlink})
	put(t, s, "/tmp/new", "made", Put{})
	if _, text := get(t, s, "/tmp/target"); text != "made" {
		t.Errorf("made through a link: %q", text)
	}
	if o, _ := get(t, s, "/tmp"); strings.Join(o.Names, " ") != "a d l new plain target" {
		t.Errorf("names %v", o.Names)
	}
	if o, _ := get(t, s, "/../../etc"); strings.Join(o.Names, " ") != "passwd" {
		t.Errorf("names %v", o.Names)
	}
}

func TestErrors(t *testing.T) {
	s, dir := service(t)
	if err := unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, s, "/tmp/a", "x", Put{})
	minus := int64(-1)
	fail := func(what string, err error, status int, text string) {
		t.Helper()
		if api.StatusOf(err) != status || err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %d %v", what, api.StatusOf(err), err)
		}
	}
	read := func(name, path string) error {
		o, err := s.Get(t.Context(), "default", name, path)
		if err == nil {
			o.Close()
		}
		return err
	}
	write := func(path string, p Put) error {
		if p.Body == nil {
			p.Body = strings.NewReader("")
		}
		return s.Put(t.Context(), "default", "c1", path, p)
	}
	fail("no path", read("c1", ""), http.StatusBadRequest, "Missing path argument")
	fail("no file", read("c1", "/nope"), http.StatusNotFound, "Not Found")
	fail("no instance", read("c2", "/etc"), http.StatusNotFound, "Instance not found")
	fail("fifo", read("c1", "/fifo"), http.StatusBadRequest, "not a regular file")
	fail("below a file", read("c1", "/etc/passwd/x"), http.StatusBadRequest, "not a directory")
	fail("no directory", write("/x/y", Put{Type: TypeFile}), http.StatusNotFound, "Not Found")
	fail("append to nothing", write("/tmp/none", Put{Type: TypeFile, Append: true}), http.StatusNotFound, "Not Found")
	fail("over a directory", write("/tmp", Put{Type: TypeFile}), http.StatusBadRequest, "directory")
	fail("link over a file", write("/tmp/a", Put{Type: TypeSymlink, Body: strings.NewReader("x")}), http.StatusConflict, "exists")
	fail("empty link", write("/tmp/l", Put{Type: TypeSymlink}), http.StatusNotFound, "")
	fail("long link", write("/tmp/l", Put{Type: TypeSymlink, Body: strings.NewReader(strings.Repeat("x", 9000))}), http.StatusBadRequest, "too long")
	fail("type", write("/tmp/l", Put{Type: "foo"}), http.StatusBadRequest, "Bad file type: foo")
	fail("uid", write("/tmp/u", Put{Type: TypeFile, UID: &minus}), http.StatusBadRequest, "uid -1")
	fail("full directory", s.Delete(t.Context(), "default", "c1", "/tmp"), http.StatusBadRequest, "not empty")
	fail("the root", s.Delete(t.Context(), "default", "c1", "/"), http.StatusBadRequest, "busy")
	fail("gone", s.Delete(t.Context(), "default", "c1", "/tmp/none"), http.StatusNotFound, "Not Found")
	host := New(folder{path: "/", released: new(int)}, event.Nobody{})
	_, err := host.Get(t.Context(), "default", "c1", "/proc/kmsg")
	fail("the kernel's log", err, http.StatusForbidden, "a file of the kernel's")
	const knob = "/proc/sys/kernel/hostname"
	same, err := os.ReadFile(knob) // should it be written after all
	if err != nil {
		t.Fatal(err)
	}
	fail("a setting of the kernel's", host.Put(t.Context(), "default", "c1", knob, Put{Type: TypeFile, Body: bytes.NewReader(same)}),
		http.StatusForbidden, "a file of the kernel's")
	cut := errors.New("cut")
	err = write("/tmp/cut", Put{Type: TypeFile, Body: io.MultiReader(strings.NewReader("half"), broken{cut})})
	if !errors.Is(err, cut) {
		t.Errorf("a broken body: %v", err)
	}
	if err := s.Delete(t.Context(), "default", "c1", "/tmp/a"); err != nil {
		t.Error(err)
	}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func TestIDs(t *testing.T) {
	ids := []spec.IDMapEntry{{UID: true, GID: true, NSID: 0, HostID: 1000, Count: 10}, {UID: true, NSID: 10, HostID: 5000, Count: 1}}
	for host, want := range map[int]int{1000: 0, 1009: 9, 1010: nobody, 5000: 10, 0: nobody} {
		if got := inside(ids, host, false); got != want {
			t.Errorf("inside %d = %d", host, got)
		}
	}
	for ns, want := range map[int64]int{0: 1000, 10: 5000, 11: -1} {
		if got := outside(ids, ns, false); got != want {
			t.Errorf("outside %d = %d", ns, got)
		}
	}
	if outside(ids, 10, true) != -1 || inside(nil, 7, true) != 7 || outside(nil, 7, true) != 7 {
		t.Error("groups, or no map")
	}
}

func TestEveryRootIsReleased(t *testing.T) {
	s, _ := service(t)
	_ = s.Put(t.Context(), "default", "c1", "/x/y", Put{Type: TypeFile})
	_ = s.Delete(t.Context(), "default", "c1", "/none")
	_, _ = s.Get(t.Context(), "default", "c1", "/none")
	get(t, s, "/etc/passwd")
	if n := *s.instances.(folder).released; n != 4 {
		t.Errorf("released %d times", n)
	}
}

func BenchmarkPush(b *testing.B) {
	dir := b.TempDir()
	s := New(folder{path: dir, released: new(int)}, event.Nobody{})
	data := make([]byte, 64<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := s.Put(b.Context(), "default", "c1", "/f", Put{Type: TypeFile, Body: bytes.NewReader(data)}); err != nil {
			b.Fatal(err)
		}
	}
}

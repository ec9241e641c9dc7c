package image

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

func newService(t *testing.T, engine store.Engine, dir string) (*Service, *journal.Journal) {
	t.Helper()
	st := store.New(engine)
	j := journal.New(st)
	s := New(Deps{Store: st, Journal: j, Events: event.Nobody{}, Dir: dir})
	if err := st.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return s, j
}

type file struct{ name, link, data string }

func tarball(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.data)), Typeflag: tar.TypeReg, Uid: os.Getuid(), Gid: os.Getgid()}
		switch {
		case f.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, f.link
		case strings.HasSuffix(f.name, "/"):
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var yamlFile = file{name: "metadata.yaml", data: goodMetadata}

func unified(t testing.TB, more ...file) []byte {
	return tarball(t, append([]file{yamlFile, {name: "rootfs/"}, {name: "rootfs/etc/"}, {name: "rootfs/etc/hostname", data: "x"}}, more...)...)
}

func importFile(t *testing.T, s *Service, data []byte, q Request) (*Received, error) {
	t.Helper()
	if q.Project == "" {
		q.Project = "default"
	}
	r, err := s.ReceiveFile(context.Background(), "default", bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return r, s.Import(r, q).Run(context.Background(), operation.NoProgress{})
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestImportUnpackDelete(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, j := newService(t, store.NewMemory(), dir)
	deleted := ""
	s.OnDelete = func(_ context.Context, fp string) error { deleted = fp; return nil }
	r, err := importFile(t, s, unified(t), Request{Public: true, Filename: "a.tar", Properties: map[string]string{"os": "mine"}, Aliases: []api.ImageAlias{{Name: "a/b"}, {Name: "a/b", Description: "the last of one name counts"}}})
	if err != nil {
		t.Fatal(err)
	}
	img, _, err := s.Get(ctx, "default", r.Fingerprint[:10])
	if err != nil {
		t.Fatal(err)
	}
	if img.Properties["os"] != "mine" || img.Properties["release"] != "12" || img.Architecture != "x86_64" || img.Type != TypeContainer ||
		img.CreatedAt.Unix() != 1700000000 || img.ExpiresAt.Unix() != 1900000000 || len(img.Aliases) != 1 || img.Filename != "a.tar" {
		t.Fatalf("%+v", img)
	}
	if _, err := importFile(t, s, unified(t), Request{}); err == nil || err.Error() != "Image with same fingerprint already exists" {
		t.Fatalf("duplicate: %v", err)
	}
	out := t.TempDir()
	if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), func(int, int64) {}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(out, "rootfs/etc/hostname")); err != nil || string(data) != "x" {
		t.Fatal(string(data), err)
	}
	if _, err := s.Resolve(ctx, "default", api.InstanceSource{Alias: "a/b"}); err != nil {
		t.Fatal(err)
	}
	if alias, _, err := s.Alias(ctx, "default", "a/b", false); err != nil || alias.Description == "" {
		t.Errorf("alias %+v, %v", alias, err)
	}
	task, err := s.Delete(ctx, "default", r.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Run(ctx, operation.NoProgress{}); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); len(left) > 0 || deleted != r.Fingerprint+".unified" || j.Pending() != 0 || len(s.Aliases(ctx, "default", false)) != 0 {
		t.Fatalf("left: %v, pools told of %q, %d journal entries", left, deleted, j.Pending())
	}
}

func TestSplitImage(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, _ := newService(t, store.NewMemory(), dir)
	r, err := importSplit(t, s, tarball(t, yamlFile, file{name: "templates/"}, file{name: "templates/hostname.tpl", data: "t"}),
		tarball(t, file{name: "./"}, file{name: "./etc/"}, file{name: "./etc/hostname", data: "x"}), Request{})
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"metadata.yaml", "templates/hostname.tpl", "rootfs/etc/hostname"} {
		if _, err := os.Stat(filepath.Join(out, name)); err != nil {
			t.Error(err)
		}
	}
	files, err := s.Export(ctx, "default", r.Fingerprint)
	if err != nil || len(files) != 2 || files[0].Name != "meta-"+r.Fingerprint+".tar" || files[1].Part != "rootfs" {
		t.Fatalf("%+v %v", files, err)
	}
	for _, f := range files {
		f.Close()
	}
}

func TestBadImagesLeaveNothing(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		q    Request
		want string
	}{
		"junk":          {[]byte("this is no image"), Request{}, "Unsupported compression"},
		"empty":         {nil, Request{}, "Unsupported compression"},
		"no metadata":   {tarball(t, file{name: "rootfs/"}), Request{}, "Metadata tarball is missing metadata.yaml"},
		"no rootfs":     {tarball(t, yamlFile), Request{}, "no root file system"},
		"link metadata": {tarball(t, file{name: "metadata.yaml", link: "/etc/passwd"}, file{name: "rootfs/"}), Request{}, "unusable metadata.yaml"},
		"wrong hash":    {unified(t), Request{Fingerprint: "abc"}, "fingerprints don't match, got "},
		"outside":       {tarball(t, file{name: "../x", data: "x"}, yamlFile), Request{}, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, j := newService(t, store.NewMemory(), dir)
			_, err := importFile(t, s, c.data, c.q)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error is %v, want %q", err, c.want)
			}
			if left := names(t, dir); len(left) > 0 || j.Pending() != 0 {
				t.Fatalf("left: %v, %d journal entries", left, j.Pending())
			}
		})
	}
}

func TestHostileImageDoesNotUnpack(t *testing.T) {
	ctx := context.Background()
	for name, more := range map[string][]file{
		"through link":         {{name: "rootfs/l", link: "/tmp"}, {name: "rootfs/l/x", data: "x"}},
		"template link":        {{name: "templates/"}, {name: "templates/x.tpl", link: "/etc/shadow"}},
		"rootfs beside itself": {{name: "rootfs/../../x", data: "x"}},
		"metadata as another":  {{name: "metadata.yaml", link: "/etc/shadow"}},
		"templates as another": {{name: "templates/"}, {name: "templates", data: "x"}},
		"rootfs as another":    {{name: "rootfs", link: "/tmp"}, {name: "rootfs/x", data: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newService(t, store.NewMemory(), t.TempDir())
			r, err := importFile(t, s, compressed(t, unified(t, more...)), Request{}) // of which the beginning alone is looked at
			if err != nil {
				t.Fatal(err)
			}
			out := t.TempDir()
			if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), out, diskspace.New(out, "the pool", 0), nil); err == nil {
				t.Fatal("was unpacked")
			}
			if left := names(t, out); len(left) > 0 {
				t.Fatalf("left: %v", left)
			}
		})
	}
}

func TestDamagedFilesAreNotUnpacked(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, _ := newService(t, store.NewMemory(), dir)
	r, err := importFile(t, s, unified(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, r.Fingerprint), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("y"), 2000); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := s.Unpack(ctx, "default", r.Fingerprint, preparedOf(t, s, r.Fingerprint), t.TempDir(), nil, nil); err == nil || !strings.Contains(err.Error(), "is damaged") {
		t.Fatalf("error: %v", err)
	}
}

// TestACutUploadIsSweptAtTheNextStart starts a second daemon on what a killed one left.
func TestACutUploadIsSweptAtTheNextStart(t *testing.T) {
	ctx, dir, engine := context.Background(), t.TempDir(), store.NewMemory()
	s, _ := newService(t, engine, dir)
	if _, err := s.ReceiveFile(ctx, "default", bytes.NewReader(unified(t))); err != nil {
		t.Fatal(err)
	}
	r, err := s.ReceiveFile(ctx, "default", bytes.NewReader(unified(t, file{name: "rootfs/other", data: "y"})))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Journal.Begin(ctx, kindFiles, filesEntry{Fingerprint: r.Fingerprint}); err != nil {
		t.Fatal(err)
	}
	if err := s.place(r, r.Fingerprint); err != nil { // killed before the commit
		t.Fatal(err)
	}
	if len(names(t, dir)) != 2 {
		t.Fatal(names(t, dir))
	}
	s, j := newService(t, engine, dir)
	if err := j.Recover(ctx); err != nil {
		t.Fatal(err)
	}
	if left := names(t, dir); len(left) > 0 || j.Pending() != 0 || len(s.List(ctx, "default", false)) != 0 {
		t.Fatalf("left: %v, %d journal entries", left, j.Pending())
	}
}

func TestUploadsAreLimited(t *testing.T) {
	dir := t.TempDir()
	s, _ := newService(t, store.NewMemory(), dir)
	s.MaxSize = 1000
	if _, err := s.ReceiveFile(context.Background(), "default", io.LimitReader(endless{}, 1<<30)); api.StatusOf(err) != 400 {
		t.Fatalf("error: %v", err)
	}
	if left := names(t, dir); len(left) > 0 {
		t.Fatalf("left: %v", left)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAliases(t *testing.T) {
	ctx := context.Background()
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	r, err := importFile(t, s, unified(t), Request{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(err error, status int, text string) {
		t.Helper()
		if err == nil || api.StatusOf(err) != status || err.Error() != text {
			t.Errorf("got %v (%d), want %d %s", err, api.StatusOf(err), status, text)
		}
	}
	post := func(name, target string) error {
		_, err := s.CreateAlias(ctx, "default", api.ImageAliasesPost{ImageAliasesEntry: api.ImageAliasesEntry{Name: name, ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: target}}})
		return err
	}
	check(post("", ""), 400, "name and target are required")
	check(post("x", "nope"), 404, "Image not found")
	for i := range 2 {
		if err := post(fmt.Sprintf("a%d/", i), r.Fingerprint); err != nil {
			t.Fatal(err)
		}
	}
	check(post("a0/", r.Fingerprint), 409, `Alias "a0/" already exists`)
	_, err = s.RenameAlias(ctx, "default", "a0/", "a1/")
	check(err, 409, `Alias "a1/" already exists`)
	_, err = s.RenameAlias(ctx, "default", "nope", "b")
	check(err, 404, "Image alias not found")
	check(s.UpdateAlias(ctx, "default", "a0/", put(api.ImageAliasesEntryPut{}), anyRevision), 400, "The target field is required")
	check(s.DeleteAlias(ctx, "default", "nope"), 404, "Image alias not found")
	if _, err := s.RenameAlias(ctx, "default", "a0/", "b"); err != nil {
		t.Fatal(err)
	}
	_, _, err = s.Alias(ctx, "default", "b", true)
	check(err, 404, "Image alias not found")
}

// TestAPublishLetsGoOfItsInstance whatever becomes of it, once for each time that it held it.
func TestAPublishLetsGoOfItsInstance(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	s, j := newService(t, store.NewMemory(), dir)
	good := t.TempDir()
	if err := os.Mkdir(filepath.Join(good, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("busy")
	for name, c := range map[string]struct {
		dir     string
		release error
		fails   string
	}{
		"works":      {good, nil, ""},
		"no content": {t.TempDir(), nil, "no such file"},
		"not let go": {good, broken, "busy"},
		"neither":    {t.TempDir(), broken, "busy"},
	} {
		held, publish := 0, true
		s.Publish = func(context.Context, string, string) (*Content, error) {
			held++
			return &Content{Dir: c.dir, Metadata: &api.ImageMetadata{Architecture: "x86_64"}, Release: func() error {
				held--
				if publish {
					return nil
				}
				return c.release
			}}, nil
		}
		task, err := s.PublishInstance(ctx, "c1", "none", Request{Project: "default"})
		if err != nil {
			t.Fatal(err)
		}
		publish = false
		err = task.Run(ctx, operation.NoProgress{})
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v", name, err)
		}
		if held != 0 || j.Pending() != 0 {
			t.Errorf("%s: held %d times, %d journal entries", name, held, j.Pending())
		}
	}
	if left := names(t, dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// TestNamesOfAliases: whichever way an alias comes, its name is looked at.
func TestNamesOfAliases(t *testing.T) {
	ctx, far := t.Context(), &shop{data: unified(t)}
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	s.Remote = far
	pull := func(alias string) error {
		src := api.ImagesPostSource{ImageSource: api.ImageSource{Server: "https://far", Alias: "web"}}
		_, err := s.pull(ctx, operation.NoProgress{}, src, Request{Project: "default", Aliases: []api.ImageAlias{{Name: alias}}})
		return err
	}
	if err := pull("first"); err != nil {
		t.Fatal(err)
	}
	last := "first"
	ways := map[string]func(name string) error{
		"create": func(name string) error {
			var req api.ImageAliasesPost
			req.Name, req.Target = name, far.fingerprint()
			_, err := s.CreateAlias(ctx, "default", req)
			return err
		},
		"rename": func(name string) error {
			_, err := s.RenameAlias(ctx, "default", last, name)
			if err == nil {
				last = name
			}
			return err
		},
		"fetch of what is here": pull,
		"import": func(name string) error {
			_, err := importFile(t, s, unified(t, file{name: "rootfs/" + fmt.Sprint(len(name)), data: "x"}), Request{Aliases: []api.ImageAlias{{Name: name}}})
			return err
		},
	}
	n := 0
	for way, give := range ways {
		n++
		longest := fmt.Sprint(n, strings.Repeat("é", 127))
		if err := give(longest); len(longest) != maxAlias || err != nil {
			t.Errorf("%s: a name of %d bytes: %v", way, len(longest), err)
		}
		for _, bad := range []string{"", longest + "x", "a\nb", "a\x00"} {
			if err := give(bad); api.StatusOf(err) != 400 {
				t.Errorf("%s: %q gives %v, want 400", way, bad, err)
			}
		}
	}
}

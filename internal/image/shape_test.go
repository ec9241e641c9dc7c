package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// preparedOf is what pools call their copy of an image of the default project.
func preparedOf(t *testing.T, s *Service, fingerprint string) string {
	t.Helper()
	name, err := s.Prepared("default", fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// twoSystems is an image as one file, and the same bytes as two: what a unified image ignores at its top is the root of the other.
func twoSystems(t *testing.T) (whole []byte, cut int) {
	t.Helper()
	evil := tarball(t, file{name: "EVIL", data: "evil"})
	first := tarball(t, yamlFile)
	first = first[:len(first)-2*512] // without the end of an archive, more follows
	return append(first, append(slices.Clone(tarball(t, file{name: "rootfs/"}, file{name: "rootfs/green", data: "x"})[:3*512]), evil...)...), len(first)
}

func removed(t *testing.T, s *Service, project, fingerprint string) {
	t.Helper()
	task, err := s.Delete(t.Context(), project, fingerprint)
	if err == nil {
		err = task.Run(t.Context(), operation.NoProgress{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// root unpacks an image of a project, and tells what there is in its root.
func root(t *testing.T, s *Service, project, fingerprint string) []string {
	t.Helper()
	prepared, err := s.Prepared(project, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	if err := s.Unpack(t.Context(), project, fingerprint, prepared, out, diskspace.New(out, "the pool", 0), nil); err != nil {
		t.Fatalf("%s: %v", project, err)
	}
	return names(t, filepath.Join(out, "rootfs"))
}

// importPieces imports the bytes of an image in two pieces.
func importPieces(t *testing.T, s *Service, project string, whole []byte, cut int) *Received {
	t.Helper()
	r, err := receiveSplit(t, s, whole[:cut], whole[cut:])
	if err == nil {
		err = s.Import(r, Request{Project: project}).Run(t.Context(), operation.NoProgress{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestAnImageCutElsewhereIsAnotherImage: whoever uploads the bytes of somebody's image in other pieces neither destroys nor changes it, whoever came
// first; nor does the deletion of one touch the other. Pools' copies are not shared either.
func TestAnImageCutElsewhereIsAnotherImage(t *testing.T) {
	whole, cut := twoSystems(t)
	other := cut + 3*512 // blank: metadata and rootfs/ are in front
	for name, first := range map[string]bool{"the whole one came first": true, "the pieces came first": false} {
		t.Run(name, func(t *testing.T) {
			s, j := newService(t, store.NewMemory(), t.TempDir())
			var dropped []string
			s.OnDelete = func(_ context.Context, name string) error { dropped = append(dropped, name); return nil }
			var fingerprint string
			green := func() {
				r, err := importFile(t, s, whole, Request{Project: "green"})
				if err != nil {
					t.Fatal(err)
				}
				fingerprint = r.Fingerprint
			}
			if first {
				green()
			}
			blue := importPieces(t, s, "blue", whole, cut)
			red := importPieces(t, s, "red", whole, other)
			if !first {
				green()
			}
			if blue.Fingerprint != fingerprint || red.Fingerprint != fingerprint {
				t.Fatal("they have no common fingerprint")
			}
			if got := root(t, s, "green", fingerprint); !slices.Equal(got, []string{"green"}) {
				t.Errorf("green's root has %v", got)
			}
			if got := root(t, s, "blue", fingerprint); !slices.Contains(got, "EVIL") {
				t.Errorf("blue's root has %v", got)
			}
			if got := exported(t, s, "green", fingerprint); len(got) != 1 || !bytes.Equal(got[0], whole) {
				t.Errorf("green's export has %d files", len(got))
			}
			for project, at := range map[string]int{"blue": cut, "red": other} {
				if got := exported(t, s, project, fingerprint); len(got) != 2 || len(got[0]) != at {
					t.Errorf("%s's export has %d files", project, len(got))
				}
			}
			copies := map[string]bool{}
			for _, project := range []string{"green", "blue", "red"} {
				copies[must(s.Prepared(project, fingerprint))] = true
			}
			if len(copies) != 3 {
				t.Errorf("pools have one copy of several images: %v", copies)
			}
			removed(t, s, "blue", fingerprint)
			if got := root(t, s, "green", fingerprint); !slices.Equal(got, []string{"green"}) || !slices.Equal(dropped, []string{fingerprint + "." + strconv.Itoa(cut)}) {
				t.Errorf("green's root has %v, pools dropped %v", got, dropped)
			}
			removed(t, s, "green", fingerprint)
			removed(t, s, "red", fingerprint)
			clean(t, s, j)
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// exported are the files of an image.
func exported(t *testing.T, s *Service, project, fingerprint string) (all [][]byte) {
	t.Helper()
	files, err := s.Export(t.Context(), project, fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// TestProjectsShareTheFilesOfAnImage that they have in the same shape.
func TestProjectsShareTheFilesOfAnImage(t *testing.T) {
	s, j := newService(t, store.NewMemory(), t.TempDir())
	r, err := importFile(t, s, unified(t), Request{Project: "green"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := importFile(t, s, unified(t), Request{Project: "blue"}); err != nil {
		t.Fatal(err)
	}
	if must(s.Prepared("green", r.Fingerprint)) != must(s.Prepared("blue", r.Fingerprint)) {
		t.Error("pools have two copies of one image")
	}
	removed(t, s, "green", r.Fingerprint)
	clean(t, s, j, r.Fingerprint)
	if got := root(t, s, "blue", r.Fingerprint); !slices.Equal(got, []string{"etc"}) {
		t.Errorf("the root has %v", got)
	}
}

// TestImagesOfEarlierDaemons, which noted no shape, have files and pools' copies by the fingerprint alone. What comes beside one stays away from both.
func TestImagesOfEarlierDaemons(t *testing.T) {
	whole, cut := twoSystems(t)
	s, j := newService(t, store.NewMemory(), t.TempDir())
	r := importPieces(t, s, "old", whole, cut)
	row, _ := s.images.Get("old", r.Fingerprint)
	old := *row.Value
	old.Shape = ""
	if _, err := s.Store.Commit(t.Context(), s.images.Replace(row, &old)); err != nil {
		t.Fatal(err)
	}
	if got := must(s.Prepared("old", r.Fingerprint)); got != r.Fingerprint {
		t.Errorf("pools are asked for %s", got)
	}
	if _, err := importFile(t, s, whole, Request{Project: "green"}); err != nil {
		t.Fatal(err)
	}
	if got := root(t, s, "old", r.Fingerprint); !slices.Contains(got, "EVIL") {
		t.Errorf("the old image's root has %v", got)
	}
	if got := root(t, s, "green", r.Fingerprint); !slices.Equal(got, []string{"green"}) || must(s.Prepared("green", r.Fingerprint)) == r.Fingerprint {
		t.Errorf("the new image's root has %v", got)
	}
	removed(t, s, "old", r.Fingerprint)
	removed(t, s, "green", r.Fingerprint)
	clean(t, s, j)
}

// TestACopyIsOfTheImageThatItIsNamedFor, though that was deleted and has come again in another shape since somebody asked for its name.
func TestACopyIsOfTheImageThatItIsNamedFor(t *testing.T) {
	whole, cut := twoSystems(t)
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	r := importPieces(t, s, "blue", whole, cut)
	row, _ := s.images.Get("blue", r.Fingerprint)
	prepared := must(s.Prepared("blue", r.Fingerprint))
	removed(t, s, "blue", r.Fingerprint)
	importPieces(t, s, "blue", whole, cut+3*512)
	out := t.TempDir()
	if err := s.Unpack(t.Context(), "blue", r.Fingerprint, prepared, out, diskspace.New(out, "the pool", 0), nil); !api.IsNotFound(err) {
		t.Errorf("unpacked: %v", err)
	}
	if files, err := s.open(row); !api.IsNotFound(err) || len(files) > 0 { // the files have the same names, and together the same hash
		t.Errorf("opened: %v", err)
	}
}

// TestAnImportBesideAnotherShapeIsUndone without a trace of it, and with the other one unharmed, at each instant at which it can be killed.
func TestAnImportBesideAnotherShapeIsUndone(t *testing.T) {
	whole, cut := twoSystems(t)
	dir, engine := t.TempDir(), &failing{Memory: store.NewMemory()}
	s, j := newService(t, engine, dir)
	green, err := importFile(t, s, whole, Request{Project: "green"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := receiveSplit(t, s, whole[:cut], whole[cut:])
	if err != nil {
		t.Fatal(err)
	}
	engine.key = "/images/blue/" + r.Fingerprint
	if err := s.Import(r, Request{Project: "blue"}).Run(t.Context(), operation.NoProgress{}); err == nil {
		t.Fatal("the store took it")
	}
	clean(t, s, j, green.Fingerprint)
	about := filesEntry{Fingerprint: green.Fingerprint, Files: green.Fingerprint + "." + strconv.Itoa(cut), Import: true} // as a kill leaves it
	for _, path := range s.paths(about.Files) {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := j.Begin(t.Context(), kindFiles, about); err != nil {
		t.Fatal(err)
	}
	if err := j.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean(t, s, j, green.Fingerprint)
	if got := root(t, s, "green", green.Fingerprint); !slices.Equal(got, []string{"green"}) {
		t.Errorf("green's root has %v", got)
	}
}

// failing is an engine that refuses to write a key.
type failing struct {
	*store.Memory
	key string
}

func (f *failing) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	if slices.ContainsFunc(ops, func(op store.Op) bool { return op.Key == f.key && !op.Delete }) {
		return 0, errors.New("refused")
	}
	return f.Memory.Commit(ctx, ops)
}

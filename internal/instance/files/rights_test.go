package files

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/spec"
)

// TestWhatIsNotTheGuestsIsForEverybodyAtMost: a folder of the host's, in an instance with an ID map, is not changed with the rights of the
// daemon, whichever call asks for it.
func TestWhatIsNotTheGuestsIsForEverybodyAtMost(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: IDs of other users")
	}
	const guest = 1000000
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for parent := dir; len(parent) > len(os.TempDir()); parent = filepath.Dir(parent) {
		must(os.Chmod(parent, 0o755))
	}
	must(os.Mkdir(filepath.Join(dir, "hosts"), 0o755))
	must(os.Mkdir(filepath.Join(dir, "hosts/empty"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "hosts/file"), []byte("host"), 0o644))
	must(os.WriteFile(filepath.Join(dir, "hosts/secret"), []byte("secret"), 0o600))
	must(os.Mkdir(filepath.Join(dir, "own"), 0o755))
	must(os.Chown(filepath.Join(dir, "own"), guest, guest))
	ids := []spec.IDMapEntry{{UID: true, GID: true, HostID: guest, Count: 65536}}
	s := New(folder{path: dir, ids: ids, released: new(int)}, event.Nobody{})
	write := func(path string, p Put) error {
		p.Body = strings.NewReader("theirs")
		return s.Put(t.Context(), "default", "c1", path, p)
	}
	remove := func(path string) error { return s.Delete(t.Context(), "default", "c1", path) }
	for what, call := range map[string]func(in string) error{
		"a new file":       func(in string) error { return write(in+"/new", Put{Type: TypeFile}) },
		"a new folder":     func(in string) error { return write(in+"/newdir", Put{Type: TypeDirectory}) },
		"a new link":       func(in string) error { return write(in+"/newlink", Put{Type: TypeSymlink}) },
		"a file replaced":  func(in string) error { return write(in+"/file", Put{Type: TypeFile}) },
		"a file extended":  func(in string) error { return write(in+"/file", Put{Type: TypeFile, Append: true}) },
		"a file removed":   func(in string) error { return remove(in + "/file") },
		"a folder removed": func(in string) error { return remove(in + "/empty") },
	} {
		must(os.RemoveAll(filepath.Join(dir, "own/empty")))
		must(os.Mkdir(filepath.Join(dir, "own/empty"), 0o755))
		must(os.WriteFile(filepath.Join(dir, "own/file"), []byte("own"), 0o644))
		must(errors.Join(os.Chown(filepath.Join(dir, "own/file"), guest, guest), os.Chown(filepath.Join(dir, "own/empty"), guest, guest)))
		if err := call("/hosts"); api.StatusOf(err) != 403 {
			t.Errorf("%s: %v, want 403", what, err)
		}
		if err := call("/own"); err != nil {
			t.Errorf("%s of the guest's own: %v", what, err)
		}
	}
	if o, err := s.Get(t.Context(), "default", "c1", "/hosts/secret"); err == nil {
		o.Close()
		t.Error("a file that is for the host's root alone was read")
	}
	var left []string
	must(filepath.WalkDir(filepath.Join(dir, "hosts"), func(path string, _ fs.DirEntry, err error) error {
		left = append(left, filepath.Base(path))
		return err
	}))
	if got := strings.Join(left, " "); got != "hosts empty file secret" {
		t.Errorf("the host's folder holds %s", got)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "hosts/file")); string(data) != "host" {
		t.Errorf("the host's file holds %q: %v", data, err)
	}
}

package cli

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestAllProjectsInEachFormat: what a list asks the server for depends on its format and columns, and the projects do not.
func TestAllProjectsInEachFormat(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", api.Server{})
	for path, command := range map[string]string{
		"/1.0/instances":               "list",
		"/1.0/storage-pools/p/volumes": "storage volume list p",
	} {
		var queries []string
		f.answers["GET "+path] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
			queries = append(queries, r.URL.RawQuery)
			give(w, []any{})
		}
		for _, format := range []string{"", "--format=table", "--format=compact", "--format=csv", "--format=json", "--format=yaml", "--columns=n", "--columns=s4"} {
			if command != "list" && strings.HasPrefix(format, "--columns") {
				continue
			}
			for _, all := range []bool{true, false} {
				queries = nil
				args := append(strings.Fields(command), strings.Fields(format)...)
				if all {
					args = append(args, "--all-projects")
				}
				if got := berth("", args...); got.code != 0 || len(queries) != 1 || strings.Contains(queries[0], "all-projects=true") != all {
					t.Errorf("%q asks for %q: %+v", args, queries, got)
				}
			}
		}
	}
}

func TestStorageInfo(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0/storage-pools/p", api.StoragePool{Name: "p", Driver: "dir"})
	var res api.StoragePoolResources
	res.Space.Used, res.Space.Total = 3<<30, 16<<30
	f.gives("GET /1.0/storage-pools/p/resources", res)
	for args, want := range map[string][]string{
		"":        {"space used: 3.00GiB\n", "total space: 16.00GiB\n"},
		"--bytes": {`space used: "3221225472"` + "\n", `total space: "17179869184"` + "\n"},
	} {
		got := berth("", append([]string{"storage", "info", "p"}, strings.Fields(args)...)...)
		for _, line := range want {
			if got.code != 0 || !strings.Contains(got.out, line) {
				t.Errorf("storage info p %s: no %q in %+v", args, line, got)
			}
		}
	}
}

// TestABuiltImageIsAFileLikeOthers: it is not for its maker alone, and there is nothing beside it.
func TestABuiltImageIsAFileLikeOthers(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("needs busybox")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "image.tar.gz")
	got := berth("", "image", "build", "busybox", "--output", file)
	info, err := os.Stat(file)
	if got.code != 0 || err != nil || info.Mode() != 0o644 || info.Size() == 0 {
		t.Errorf("%+v: %v %v", got, info, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("there are %v: %v", entries, err)
	}
}

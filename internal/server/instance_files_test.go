package server

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/instance/files"
)

type oneFolder string

func (f oneFolder) FilesRoot(_ context.Context, project, name string) (files.Root, error) {
	if project != "default" || name != "c1" {
		return files.Root{}, api.NotFound("Instance not found")
	}
	return files.Root{Path: string(f)}, nil
}

func (f oneFolder) LastingRoot(ctx context.Context, project, name string) (files.Root, error) {
	return f.FilesRoot(ctx, project, name)
}

func filesServer(t *testing.T) (*Server, string) {
	t.Helper()
	dir := t.TempDir()
	return testServer(t, root, filesAPI{files.New(oneFolder(dir), event.Nobody{})}.routes()...), dir
}

// fetch returns the answer as it is: most of these are no envelopes.
func download(s http.Handler, method, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/1.0/instances/c1/files?path="+path, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func TestFilesOverHTTP(t *testing.T) {
	s, dir := filesServer(t)
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		contains           string
	}{
		{"POST", "/f", "hello", []string{"X-LXD-mode", "0640", "Content-Type", "application/x-www-form-urlencoded"}, 200, `"metadata":{}`},
		{"POST", "/f", " world", []string{"X-LXD-write", "append"}, 200, ""},
		{"GET", "/f", "", nil, 200, "hello world"},
		{"GET", "/f", "", []string{"Range", "bytes=6-"}, 206, "world"},
		{"HEAD", "/f", "", nil, 200, ""},
		{"POST", "/f", "", []string{"X-LXD-write", "sideways"}, 400, "Bad file write mode: sideways"},
		{"POST", "/f", "", []string{"X-LXD-type", "fifo"}, 400, "Bad file type: fifo"},
		{"POST", "/d", "", []string{"X-LXD-type", "directory", "X-LXD-mode", "01777"}, 200, ""},
		{"POST", "/l", "/f", []string{"X-LXD-type", "symlink"}, 200, ""},
		{"GET", "/l", "", nil, 200, "/f"},
		{"GET", "/", "", nil, 200, `"metadata":["d","f","l"]`},
		{"GET", "/d", "", nil, 200, `"metadata":[]`},
		{"GET", "/none", "", nil, 404, `"error":"Not Found"`},
		{"HEAD", "/none", "", nil, 404, ""},
		{"GET", "", "", nil, 400, "Missing path argument"},
		{"POST", "/none/f", "x", nil, 404, "Not Found"},
		{"DELETE", "/l", "", nil, 200, ""},
		{"DELETE", "/l", "", nil, 404, "Not Found"},
		{"DELETE", "", "", nil, 400, "Missing path argument"},
	} {
		w := download(s, c.method, c.path, c.body, c.header...)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("%s %s %v: %d %s", c.method, c.path, c.header, w.Code, w.Body)
		}
	}
	h := download(s, "GET", "/f", "").Header()
	for name, want := range map[string]string{
		"X-LXD-mode": "0640", "X-LXD-type": "file", "X-LXD-uid": "0", "Content-Type": "application/octet-stream",
		"Content-Length": "11", "Content-Disposition": "inline; filename=f",
	} {
		if name == "X-LXD-uid" && os.Getuid() != 0 {
			continue
		}
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
	if h := download(s, "HEAD", "/d", "").Header(); h.Get("X-LXD-mode") != "1777" || h.Get("X-LXD-type") != "directory" {
		t.Errorf("headers of a directory: %v", h)
	}
	if _, err := os.Stat(filepath.Join(dir, "f")); err != nil {
		t.Error(err)
	}
	code, _, env := call(t, s, "GET", "/1.0/containers/c2/files?path=/f", "")
	if code != 404 || env.Error != "Instance not found" {
		t.Errorf("no instance: %d %s", code, env.Error)
	}
}

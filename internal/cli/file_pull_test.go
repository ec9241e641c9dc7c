package cli

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestAPullThatBreaksOffKeepsTheFile: half of a file in the place of a whole one would be taken for it.
func TestAPullThatBreaksOffKeepsTheFile(t *testing.T) {
	f := newFake(t)
	whole := "all of the new one"
	sent := len(whole)
	f.answers["GET /1.0/instances/c/files"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("X-LXD-type", "file")
		w.Header().Set("X-LXD-mode", "0640")
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		_, _ = w.Write([]byte(whole[:sent]))
	}
	dir := t.TempDir()
	target := filepath.Join(dir, "notes")
	if err := os.WriteFile(target, []byte("what was there"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		sent int
		rc   int
		want string
		mode os.FileMode
	}{{sent: 5, rc: 1, want: "what was there", mode: 0o600}, {sent: len(whole), want: whole, mode: 0o640}} {
		sent = tt.sent
		if got := berth("", "file", "pull", "c/etc/notes", target); got.code != tt.rc {
			t.Errorf("after %d bytes: %+v", tt.sent, got)
		}
		got, err := os.ReadFile(target)
		info, statErr := os.Stat(target)
		if err != nil || statErr != nil || string(got) != tt.want || info.Mode().Perm() != tt.mode {
			t.Errorf("after %d bytes there is %q, %v, %v, %v", tt.sent, got, info.Mode(), err, statErr)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("after %d bytes there is %v, %v", tt.sent, left, err)
		}
	}
}

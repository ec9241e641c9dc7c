package store

import (
	"os"
	"path/filepath"
	"testing"
)

// TestOpenRemovesRemainsOfBackups: each is as large as the store, and a daemon that is killed while it starts leaves one.
func TestOpenRemovesRemainsOfBackups(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.db")
	for _, name := range []string{".bak.tmp123", ".schema-1.tmp45", ".restore.tmp6"} {
		if err := os.WriteFile(path+name, []byte("a part of a copy"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, err := OpenBolt(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	left, err := filepath.Glob(path + "*.tmp*")
	if err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

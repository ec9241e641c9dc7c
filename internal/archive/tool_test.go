package archive

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFiltersRunAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "xz"), []byte("#!/bin/sh\n/usr/bin/id -u\n/usr/bin/id -G\n/usr/bin/env | /usr/bin/wc -l\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("SECRET", "of the daemon")
	f := fileOf(t, []byte("\xfd7zXZ\x00"))
	r, err := Open(context.Background(), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	// PATH, LC_ALL and the shell's own PWD.
	if got := strings.Fields(string(out)); strings.Join(got, " ") != "65534 65534 3" {
		t.Errorf("user, groups and size of environment: %v", got)
	}
}

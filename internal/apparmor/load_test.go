package apparmor

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestLoadsOfOneProfileWaitForEachOther: starts side by side, of an instance and of what it restarts, compile a profile once, and none
// finds half of a file.
func TestLoadsOfOneProfileWaitForEachOther(t *testing.T) {
	h := fake(t)
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	h.parser = filepath.Join(dir, "parser")
	script := "#!/bin/sh\necho run >>" + runs + "\ncat >/dev/null\necho compiled\n"
	if err := os.WriteFile(h.parser, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for round, raw := range []string{"", "capability sys_time,", "capability chown,"} {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				p := Program{Kind: Instance, ID: "c9"}.Profile()
				p.Raw = raw
				if _, err := h.Load(t.Context(), p); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		log, err := os.ReadFile(runs)
		if n := bytes.Count(log, []byte("run")); err != nil || n != round+1 {
			t.Errorf("the parser has run %d times for %d texts, %v", n, round+1, err)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(h.file("cache", "x")))
	if err != nil || len(entries) != 1 {
		t.Errorf("kept: %v, %v", entries, err)
	}
}

package securefs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestADirectoryIsReadInParts(t *testing.T) {
	r, inside, _ := hostile(t)
	want := map[string]bool{}
	for i := range 25 {
		name := fmt.Sprintf("f%02d", i)
		want[name] = true
		if err := os.WriteFile(filepath.Join(inside, "a/b", name), make([]byte, i), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want["up"] = true // a link, as it is
	d, err := r.OpenDir("/a/b")
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for {
		part, err := d.Next(10)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(part) == 0 || len(part) > 10 {
			t.Fatalf("%d entries, %v", len(part), err)
		}
		for _, e := range part {
			if !want[e.Name] || e.Name == "f07" && e.Size != 7 || e.Name == "up" && e.Mode.Type() != os.ModeSymlink {
				t.Errorf("%+v", e)
			}
			delete(want, e.Name)
		}
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if _, err := r.OpenDir("etc/passwd"); err == nil {
		t.Error("a file was opened as a directory")
	}
}

package durable

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/berthd/berth/internal/loopfs"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func text(s string) func(f *os.File) error {
	return func(f *os.File) error {
		_, err := f.WriteString(s)
		return err
	}
}

func TestWhatWasWrittenOutlivesThePower(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	path := filepath.Join(disk.Path, "file")
	for _, content := range []string{"first", "second"} {
		if err := WriteFile(path, 0o640, text(content)); err != nil {
			t.Fatal(err)
		}
		disk.PowerCut(nil)
		if got := read(t, path); got != content {
			t.Errorf("%q instead of %q", got, content)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

func TestAFolderOutlivesThePower(t *testing.T) {
	for name, sync := range map[string]func(string) error{"Dir": Dir, "FileSystem": FileSystem} {
		t.Run(name, func(t *testing.T) {
			disk := loopfs.PowerDisk(t)
			for _, dir := range []string{"lost", "kept"} {
				if err := os.Mkdir(filepath.Join(disk.Path, dir), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := sync(disk.Path); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(disk.Path, "lost")); err != nil {
				t.Fatal(err)
			}
			if err := sync(disk.Path); err != nil {
				t.Fatal(err)
			}
			disk.PowerCut(nil)
			if _, err := os.Stat(filepath.Join(disk.Path, "kept")); err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(disk.Path, "lost")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what was removed is back: %v", err)
			}
		})
	}
}

func TestAFailedWriteLeavesWhatWasThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := WriteFile(path, 0o600, text("whole")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := WriteFile(path, 0o600, func(f *os.File) error { return errors.Join(text("ha")(f), broken) })
	if !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if got := read(t, path); got != "whole" {
		t.Errorf("now %q", got)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left beside it: %v, %v", entries, err)
	}
	if err := Dir(filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestSweepRemovesWhatKillsLeft, and neither what is being written nor what is no such file.
func TestSweepRemovesWhatKillsLeft(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"db.tmp1", "db.bak.tmp22", "db.schema-1.tmp333", "db", "db.bak", "db.tmp", "db.tmpx", "other.tmp1", "db2.tmp1", "db.bak.tmp1x"} {
		if err := os.WriteFile(at(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(at("db.tmp4"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(at("db.bak"), 0o600, func(f *os.File) error {
		if err := Sweep(at("db")); err != nil {
			return err
		}
		_, err := f.WriteString("whole")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(at("none/db")); err != nil {
		t.Error(err)
	}
	var left []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"db", "db.bak", "db.bak.tmp1x", "db.tmp", "db.tmp4", "db.tmpx", "db2.tmp1", "other.tmp1"}
	if !slices.Equal(left, want) || read(t, at("db.bak")) != "whole" {
		t.Errorf("left are %q, want %q", left, want)
	}
}

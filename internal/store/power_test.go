package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/loopfs"
	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

// TestPowerCut has the power end right behind an answer, again and again: what was answered is there.
func TestPowerCut(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	path := filepath.Join(disk.Path, "store.db")
	for round := range 4 {
		e := open(t, path)
		for i := range 3 {
			if _, err := e.Commit(t.Context(), []store.Op{storetest.Put(fmt.Sprintf("/things/%d-%d", round, i), "x")}); err != nil {
				t.Fatal(err)
			}
		}
		disk.PowerCut(func() { _ = e.Close() })
		report, err := store.CheckFile(path)
		if err != nil || report.Tables["things"] != 3*(round+1) {
			t.Fatalf("round %d: %+v, %v", round, report, err)
		}
	}
}

// TestPowerCutAfterATool has it end behind the tools that replace whole files.
func TestPowerCutAfterATool(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	path, source := filepath.Join(disk.Path, "store.db"), filled(t, 30)
	has := func(when, file string, want int) {
		t.Helper()
		if report, err := store.CheckFile(file); err != nil || report.Tables["things"] != want {
			t.Errorf("%s: %+v, %v", when, report, err)
		}
	}
	if err := store.RestoreFile(filled(t, 5), path); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut(nil)
	has("restored to where nothing was", path, 5)
	if err := store.RestoreFile(source, path); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut(nil)
	has("restored", path, 30)
	has("the one before", path+".before-restore", 5)
	copied := filepath.Join(disk.Path, "copy.db")
	if err := store.BackupFile(source, copied); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut(nil)
	has("backed up", copied, 30)
}

// TestPowerCutOfAFreshStore has it end when a store has just been made: it is there and empty.
func TestPowerCutOfAFreshStore(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	path := filepath.Join(disk.Path, "store.db")
	e := open(t, path)
	disk.PowerCut(func() { _ = e.Close() })
	if report, err := store.CheckFile(path); err != nil || report.Schema != store.SchemaVersion {
		t.Errorf("%+v, %v", report, err)
	}
}

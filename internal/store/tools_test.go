package store_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

func TestDumpIsStableAndReadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	e := open(t, path)
	for _, op := range []store.Op{
		{Key: "/b/2", Value: []byte(`{"name": "<b>"}`)}, {Key: "/a/1", Value: []byte(`[1,2]`)},
	} {
		if _, err := e.Commit(t.Context(), []store.Op{op}); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := store.DumpFile(path, &out); err != nil { // while it is open
		t.Fatal(err)
	}
	want := `{"schema":1,"revision":2}
{"key":"/a/1","revision":2,"value":[1,2]}
{"key":"/b/2","revision":1,"value":{"name":"<b>"}}
`
	if out.String() != want {
		t.Errorf("got %s", out.String())
	}
}

// TestBackupOfABusyStore copies, from outside and from inside, while it is written to: each copy must be whole and hold
// every commit up to some revision.
func TestBackupOfABusyStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	e := open(t, path)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			op := storetest.Put(fmt.Sprintf("/n/%d", i%500), strings.Repeat("x", i%3000))
			if _, err := e.Commit(context.Background(), []store.Op{op, storetest.Put("/last", fmt.Sprint(i+1))}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 20 {
		target := filepath.Join(t.TempDir(), fmt.Sprint(i))
		backup := func() error { return store.BackupFile(path, target) }
		if i%2 == 0 {
			backup = func() error { return e.(*store.Bolt).Backup(target) }
		}
		if err := backup(); err != nil {
			t.Error(err)
			continue
		}
		copied := open(t, target)
		entries, rev, err := store.List(t.Context(), copied, "/last")
		if err != nil || len(entries) > 0 && string(entries[0].Value) != fmt.Sprintf("%q", fmt.Sprint(rev)) {
			t.Errorf("at %d: %v %v", rev, entries, err)
		}
		_ = copied.Close()
	}
	close(stop)
	writer.Wait()
}

func TestRestore(t *testing.T) {
	backup, path := filled(t, 30), filled(t, 5)
	if err := store.RestoreFile(backup, path); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]int{path: 30, path + ".before-restore": 5} {
		if report, err := store.CheckFile(file); err != nil || report.Tables["things"] != want {
			t.Errorf("%s: %+v %v", file, report, err)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad")
	data, _ := os.ReadFile(backup)
	if err := os.WriteFile(bad, data[:len(bytes.TrimRight(data, "\x00"))/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := store.RestoreFile(bad, path); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("restore of a cut file: %v", err)
	}
	if report, err := store.CheckFile(path); err != nil || report.Tables["things"] != 30 {
		t.Errorf("after a refused restore: %+v %v", report, err)
	}
	if err := store.RestoreFile(backup, filepath.Join(t.TempDir(), "new.db")); err != nil {
		t.Errorf("restore to where nothing is: %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*.tmp*"))
	if len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestReportIsJSON(t *testing.T) {
	report, err := store.CheckFile(filled(t, 3))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(report)
	if err != nil || !strings.Contains(string(data), `"tables":{"things":3}`) {
		t.Errorf("%s %v", data, err)
	}
	if _, err := store.CheckFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("check of nothing: %v", err)
	}
}

package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

func TestMemoryConforms(t *testing.T) {
	storetest.Run(t, storetest.Engine{Parallel: true, Forget: forget, Open: func(*testing.T) (one, other store.Engine) {
		m := store.NewMemory()
		return m, m
	}})
}

func TestBoltConforms(t *testing.T) {
	storetest.Run(t, storetest.Engine{Parallel: true, Forget: forget, Open: func(t *testing.T) (one, other store.Engine) {
		e, err := store.OpenBolt(filepath.Join(t.TempDir(), "store.db"), store.Options{NoBackup: true})
		if err != nil {
			t.Fatal(err)
		}
		return e, e
	}})
}

// forget has an engine in this process forget what was committed: it remembers so many commits.
func forget(t *testing.T, e store.Engine) {
	t.Helper()
	for n := range 65 {
		if _, err := e.Commit(context.Background(), []store.Op{storetest.Put("/forget", fmt.Sprint(n))}); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, path string) store.Engine {
	t.Helper()
	e, err := store.OpenBolt(path, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// filled makes a closed store with n entries and returns its path.
func filled(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "store.db")
	e := open(t, path)
	var ops []store.Op
	for i := range n {
		ops = append(ops, storetest.Put(fmt.Sprintf("/things/%04d", i), strings.Repeat("x", 100)))
	}
	for some := range slices.Chunk(ops, store.MaxOps) {
		if _, err := e.Commit(t.Context(), some); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReopenKeepsEverything(t *testing.T) {
	path := filled(t, 1000)
	e := open(t, path)
	entries, rev, err := store.List(t.Context(), e, "/things/")
	if err != nil || len(entries) != 1000 || rev != (1000+store.MaxOps-1)/store.MaxOps {
		t.Fatalf("%d entries at %d, %v", len(entries), rev, err)
	}
}

func TestSecondOpenIsLocked(t *testing.T) {
	path := filled(t, 1)
	open(t, path)
	_, err := store.OpenBolt(path, store.Options{})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) || !strings.Contains(err.Error(), path) {
		t.Errorf("second open: %v", err)
	}
	if err := store.RestoreFile(filled(t, 1), path); !errors.Is(err, store.ErrLocked) {
		t.Errorf("restore over an open store: %v", err)
	}
}

// TestDamage cuts the file at many places and flips bytes all over it. Whatever is done with it must end in success or
// in ErrCorrupt, and never in a wrong value.
func TestDamage(t *testing.T) {
	good, err := os.ReadFile(filled(t, 200))
	if err != nil {
		t.Fatal(err)
	}
	try := func(t *testing.T, what string, data []byte, mustFail bool) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "store.db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, checkErr := store.CheckFile(path)
		e, err := store.OpenBolt(path, store.Options{NoBackup: true})
		if err == nil {
			var entries []store.Entry
			if entries, _, err = store.List(t.Context(), e, "/"); err == nil {
				for _, entry := range entries {
					if len(entry.Value) != 102 {
						t.Errorf("%s: wrong value %q", what, entry.Value)
					}
				}
				_, err = e.Commit(t.Context(), []store.Op{storetest.Put("/things/new", strings.Repeat("y", 100))})
			}
			_ = e.Close()
		}
		for _, err := range []error{err, checkErr} {
			if err != nil && !errors.Is(err, store.ErrCorrupt) {
				t.Errorf("%s: %v", what, err)
			}
			if err == nil && mustFail {
				t.Errorf("%s: passed", what)
			}
		}
	}
	used := len(bytes.TrimRight(good, "\x00"))
	for _, size := range []int{1, 100, 4095, 4096, 8192, 16384, used / 2, used - 5000} {
		try(t, fmt.Sprintf("cut at %d", size), good[:size], true)
	}
	step := 397
	if testing.Short() {
		step = 997
	}
	for at := 0; at < used; at += step {
		damaged := bytes.Clone(good)
		damaged[at] ^= 0xff
		try(t, fmt.Sprintf("byte %d", at), damaged, false)
	}
	for at := 0; at+4096 <= used; at += 4096 {
		damaged := bytes.Clone(good)
		clear(damaged[at : at+4096])
		try(t, fmt.Sprintf("page at %d", at), damaged, false)
	}
	try(t, "noise", bytes.Repeat([]byte("noise"), 10000), true)
}

func TestEmptyFileIsAFreshStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, path)
}

func TestBackupKeptOfAGoodStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	put := func(key, value string) {
		t.Helper()
		e := open(t, path)
		_, err := e.Commit(t.Context(), []store.Op{{Key: key, Value: []byte(value)}})
		if err := errors.Join(err, e.Close()); err != nil {
			t.Fatal(err)
		}
	}
	load := func() error {
		s := store.New(open(t, path))
		store.NewTable[struct{ N int }](s, "things")
		return errors.Join(s.Load(t.Context()), s.Close()) // which waits for the copy
	}
	check := func() {
		t.Helper()
		report, err := store.CheckFile(path + ".bak")
		if err != nil || report.Tables["things"] != 1 {
			t.Errorf("%+v %v", report, err)
		}
	}
	put("/things/good", `{"N":1}`)
	if err := load(); err != nil {
		t.Fatal(err)
	}
	check()
	put("/things/wrong", `{"N":"no number"}`)
	if err := load(); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a store with a value that is none: %v", err)
	}
	check() // the backup of when it was good
}

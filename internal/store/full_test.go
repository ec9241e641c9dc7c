package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

// TestFullDisk fills a file system of a few MiB and expects: commits fail with ENOSPC and change nothing, the store stays
// readable and consistent with its tables, and once there is room, commits work again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Skip("needs root, to mount a tmpfs: ", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "store.db")
	s, e, things := tableOn(t, path)
	defer func() { _ = e.Close() }()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	known := map[string]int{}
	fill := func() error {
		for i := range 10000 {
			value := thing{Text: strings.Repeat("x", rand.IntN(20000))}
			name := fmt.Sprint(i)
			if _, err := s.Commit(t.Context(), things.Put(&value, name)); err != nil {
				return err
			}
			known[name] = len(value.Text)
		}
		return nil
	}
	for range 5 {
		if err := fill(); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("on a full disk: %v", err)
		}
		agree(t, e, things, known)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), things.Put(&thing{Text: "room"}, "after")); err != nil {
		t.Fatalf("with room again: %v", err)
	}
	known["after"] = 4
	agree(t, e, things, known)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	_, e, things = tableOn(t, path)
	agree(t, e, things, known)
	_ = e.Close()
	if _, err := store.CheckFile(path); err != nil {
		t.Error(err)
	}
}

type thing struct {
	Text string `json:"text"`
}

func tableOn(t *testing.T, path string) (*store.Store, store.Engine, *store.Table[thing]) {
	t.Helper()
	e, err := store.OpenBolt(path, store.Options{NoBackup: true})
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(e)
	things := store.NewTable[thing](s, "things")
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, e, things
}

// agree checks that table, engine and what was committed are the same.
func agree(t *testing.T, e store.Engine, things *store.Table[thing], known map[string]int) {
	t.Helper()
	entries, _, err := store.List(t.Context(), e, "/things/")
	if err != nil || len(entries) != len(known) || things.Len() != len(known) {
		t.Fatalf("engine has %d, table %d, committed %d: %v", len(entries), things.Len(), len(known), err)
	}
	for name, size := range known {
		if row, ok := things.Get(name); !ok || len(row.Value.Text) != size {
			t.Fatalf("%s: %v", name, ok)
		}
	}
}

func BenchmarkCommit(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			e, err := store.OpenBolt(filepath.Join(b.TempDir(), "store.db"), store.Options{NoBackup: true})
			if err != nil {
				b.Fatal(err)
			}
			defer e.Close()
			b.ResetTimer()
			var all sync.WaitGroup
			for w := range writers {
				all.Go(func() {
					for i := w; i < b.N; i += writers {
						op := storetest.Put(fmt.Sprintf("/things/%d", i%1000), strings.Repeat("x", 500))
						if _, err := e.Commit(b.Context(), []store.Op{op}); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		})
	}
}

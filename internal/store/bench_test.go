package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berthd/berth/internal/store"
)

// BenchmarkTableCommit is what a change costs that services make: through the store, and seen in a table when it returns.
func BenchmarkTableCommit(b *testing.B) {
	for _, engine := range []string{"memory", "bbolt"} {
		for _, writers := range []int{1, 16} {
			b.Run(fmt.Sprintf("engine=%s/writers=%d", engine, writers), func(b *testing.B) { tableCommit(b, engine, writers) })
		}
	}
}

func tableCommit(b *testing.B, engine string, writers int) {
	e := store.Engine(store.NewMemory())
	if engine == "bbolt" {
		var err error
		if e, err = store.OpenBolt(filepath.Join(b.TempDir(), "store.db"), store.Options{NoBackup: true}); err != nil {
			b.Fatal(err)
		}
	}
	s := store.New(e)
	things := store.NewTable[thing](s, "things")
	if err := s.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	value := &thing{Text: strings.Repeat("x", 500)}
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < b.N; i += writers {
				if _, err := s.Commit(b.Context(), things.Put(value, fmt.Sprint(i%1000))); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

package etcd

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/store"
)

// BenchmarkTableCommit is that of package store, on etcd.
func BenchmarkTableCommit(b *testing.B) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			dir := b.TempDir()
			c := startCluster(b, members, func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) })
			s := store.New(c.members[0].Engine(Options{}))
			things := store.NewTable[string](s, "things")
			if err := s.Load(b.Context()); err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			value := strings.Repeat("x", 500)
			for i := 0; b.Loop(); i++ {
				if _, err := s.Commit(b.Context(), things.Put(&value, fmt.Sprint(i%1000))); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

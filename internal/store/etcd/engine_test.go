package etcd

import (
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

func TestOneMemberConforms(t *testing.T)   { conform(t, 1) }
func TestThreeMembersConform(t *testing.T) { conform(t, 3) }

// conform runs the suite on one cluster, emptied for each test: its revisions do not begin anew.
func conform(t *testing.T, members int) {
	c := startCluster(t, members, inFolder(t))
	next := 0
	storetest.Run(t, storetest.Engine{
		Open: func(t *testing.T) (one, other store.Engine) {
			e := c.members[next%members].Engine(Options{})
			empty(t, e)
			next++
			return e, c.members[next%members].Engine(Options{})
		},
		Forget: func(t *testing.T, e store.Engine) {
			rev, err := e.Commit(t.Context(), []store.Op{storetest.Put("/forget", fmt.Sprint(next))})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := client(e).Compact(t.Context(), int64(rev), clientv3.WithCompactPhysical()); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func client(e store.Engine) *clientv3.Client {
	return e.(*Engine).client // all engines here are
}

func empty(t *testing.T, e *Engine) {
	t.Helper()
	if _, err := e.client.Delete(t.Context(), "/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

// TestScanInPages reads more than a page, while it changes.
func TestScanInPages(t *testing.T) {
	e := startCluster(t, 1, inFolder(t)).engines(t, Options{})[0]
	s := store.New(e)
	var ops []store.Op
	for i := range 2*page + 1 {
		ops = append(ops, storetest.Put(fmt.Sprintf("/things/%05d", i), "old"))
	}
	rev, err := s.CommitAll(t.Context(), ops)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	at, err := e.Scan(t.Context(), "/things/", func(entry store.Entry) error {
		if want := ops[n]; entry.Key != want.Key || string(entry.Value) != `"old"` {
			t.Fatalf("entry %d is %+v", n, entry)
		}
		if n++; n == 1 {
			_, err := s.CommitAll(t.Context(), []store.Op{storetest.Put(ops[len(ops)-1].Key, "new"), storetest.Put("/things/99999", "new")})
			return err
		}
		return nil
	})
	if err != nil || n != len(ops) || at != rev {
		t.Errorf("%d of %d entries, at %d of %d, %v", n, len(ops), at, rev, err)
	}
}

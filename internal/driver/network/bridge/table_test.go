package bridge

import (
	"sync"
	"testing"

	"github.com/google/nftables"

	"github.com/berthd/berth/internal/nettest"
)

// TestTwoDaemonsShareOneTable: what one removes with its last network is not what another has just put there. Daemons have no
// lock in common, so here nobody takes any.
func TestTwoDaemonsShareOneTable(t *testing.T) {
	nettest.Need(t)
	const rounds = 40
	var both sync.WaitGroup
	for _, name := range []string{"brtwo1", "brtwo2"} {
		both.Go(func() {
			c := config(t, name)
			chains := chainsOf(c, false)
			for round := range rounds {
				if err := replaceChains(c.Name, c.ID, chains); err != nil {
					t.Errorf("%s, round %d: %v", name, round, err)
					return
				}
				if n := chainsNamed(t, c.Name); n != len(chains) {
					t.Errorf("%s, round %d: %d chains of %d", name, round, n, len(chains))
					return
				}
				if err := replaceChains(c.Name, c.ID, nil); err != nil {
					t.Errorf("%s, round %d: remove: %v", name, round, err)
					return
				}
			}
		})
	}
	both.Wait()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	if tables, err := conn.ListTables(); err != nil || len(tables) > 0 {
		t.Errorf("%d tables are left (%v)", len(tables), err)
	}
}

// chainsNamed counts the chains of a network in the kernel.
func chainsNamed(t *testing.T, network string) (n int) {
	r, err := dialRules()
	if err != nil {
		t.Error(err)
		return 0
	}
	defer r.close()
	chains, err := r.listChains()
	if err != nil {
		t.Error(err)
	}
	for _, ch := range chains {
		for _, prefix := range []string{"pstrt.", "fwd.", "in.", "out."} {
			if ch.Name == prefix+network {
				n++
			}
		}
	}
	return n
}

package etcd

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
	"github.com/berthd/berth/internal/store/storetest"
)

const writers = 6

// TestLeaderKilled ends the leader while all members write. The others elect another and go on; what was said to be made is
// there; and the one that was killed catches up when it is started again.
func TestLeaderKilled(t *testing.T) {
	c := startCluster(t, 3, inFolder(t))
	dead := c.leader(t)
	var living []store.Engine
	for i, e := range c.engines(t, Options{}) {
		if i != dead {
			living = append(living, e)
		}
	}
	follower := storetest.Follow(t, living[0])
	doomed := storetest.StartLoad(t.Context(), "doomed", []store.Engine{c.members[dead].Engine(Options{})}, 1)
	load := storetest.StartLoad(t.Context(), "", living, writers)
	load.Await(t, 100)
	doomed.Await(t, 10)
	begun := time.Now()
	c.kill(dead)
	doomed.AwaitFailure(t)
	doomed.Stop()
	load.Await(t, 100)
	t.Logf("100 commits more %s after the leader was killed: %s", time.Since(begun), load)
	load.Stop()
	for _, e := range living {
		load.Check(t, e)
	}
	doomed.Check(t, living[0])
	follower.Check(t)
	c.start(t, dead)
	again := c.members[dead].Engine(Options{})
	defer again.Close()
	load.Check(t, again)
	storetest.Follow(t, again).Check(t)
}

// TestQuorumLost cuts the leader off from the others. Whoever asks it gets an answer within the bound; the others go on; and
// when it is back, its tables are too.
func TestQuorumLost(t *testing.T) {
	c := startCluster(t, 3, inFolder(t))
	alone := c.leader(t)
	const bound = 2 * time.Second
	engines := c.engines(t, Options{Timeout: bound})
	one, others := engines[alone], append(engines[:alone:alone], engines[alone+1:]...)
	follower := storetest.Follow(t, c.members[alone].Engine(Options{}))
	load := storetest.StartLoad(t.Context(), "", others, writers)
	load.Await(t, 50)
	c.network.part(alone)
	// It takes an election until the others go on; from then on the leader that was is sure not to lead.
	load.Await(t, 50)

	begun := time.Now()
	_, err := one.Commit(t.Context(), []store.Op{storetest.Put("/alone", "x").At(0)})
	if !errors.Is(err, store.ErrUnknownOutcome) || time.Since(begun) > 2*bound {
		t.Errorf("a commit without a quorum, after %s: %v", time.Since(begun), err)
	}
	begun = time.Now()
	if _, err := one.Scan(t.Context(), "/", func(store.Entry) error { return nil }); !errors.Is(err, store.ErrUnavailable) || time.Since(begun) > 2*bound {
		t.Errorf("a scan without a quorum, after %s: %v", time.Since(begun), err)
	}
	if _, err := one.Grant(t.Context(), time.Minute); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("a lease without a quorum: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), bound/10)
	defer cancel()
	if _, err := one.Commit(ctx, []store.Op{storetest.Put("/alone", "y").At(0)}); !errors.Is(err, store.ErrUnknownOutcome) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a commit whose context ends: %v", err)
	}
	load.Await(t, 50)
	c.network.heal()
	eventually(t, "the member does not come back", func() bool {
		_, err := one.Scan(t.Context(), "/", func(store.Entry) error { return nil })
		return err == nil
	})
	load.Stop()
	load.Check(t, one)
	follower.Check(t)
}

// TestSlowFollower delays all that one member sends and gets. The others are no slower for it; what it does itself takes
// longer, and is as right.
func TestSlowFollower(t *testing.T) {
	c := startCluster(t, 3, inFolder(t))
	slow := (c.leader(t) + 1) % 3
	const delay = 200 * time.Millisecond
	engines := c.engines(t, Options{})
	follower := storetest.Follow(t, c.members[slow].Engine(Options{}))
	quick := storetest.StartLoad(t.Context(), "", append(engines[:slow:slow], engines[slow+1:]...), writers)
	quick.Await(t, 50)
	c.network.slow(slow, delay)
	begun := time.Now()
	if _, err := engines[slow].Commit(t.Context(), []store.Op{storetest.Put("/slow", "x")}); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < delay {
		t.Errorf("the member is not slow: a commit took %s", took)
	}
	begun = time.Now()
	quick.Await(t, 200)
	if took := time.Since(begun); took > 200*delay/writers {
		t.Errorf("the others wait for it: 200 commits took %s", took)
	}
	follower.Commit(t)
	quick.Stop()
	quick.Check(t, engines[(slow+1)%3])
	follower.Check(t)
}

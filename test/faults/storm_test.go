package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/client"
)

const (
	stormKills   = 50        // of a run that names no other number
	stormEnv     = "KILLS"   // `make storm KILLS=500`
	stormSeedEnv = "SEED"    // that of a run that failed
	stormWorkers = 4         // half of them with each of two clients
	stormMoment  = 1_000_000 // microseconds: the daemon is killed within them
)

// storm is a daemon on whose few objects all workers act at once.
type storm struct {
	*bench
	image string // fingerprint of the image with a manifest

	calls, succeeded, edited, unknown atomic.Int64

	mu     sync.Mutex
	faults map[string]int // answers that say the daemon has failed, not the caller
	recent []string       // the last calls of the round, for the report of a failure
}

// TestAStormOfKillsLosesNothing kills the daemon at random instants of all kinds of changes, which two clients make to the same
// objects, again and again, without clearing up in between.
func TestAStormOfKillsLosesNothing(t *testing.T) {
	t.Parallel()
	kills, seed := number(t, stormEnv, stormKills), uint64(number(t, stormSeedEnv, int(time.Now().UnixNano())))
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newStorm(t, newBench(t))
	for round := range kills {
		point := fmt.Sprintf("SEED=%d round %d", seed, round)
		s.round(random)
		s.settled(point)
		counts.storms.Add(1)
		if t.Failed() {
			t.Fatalf("%s\nlast calls:\n%s\n%s", point, strings.Join(s.recent, "\n"), s.d.Log())
		}
		if round%50 == 49 {
			t.Logf("%d kills, %d calls, %d of them succeeded", round+1, s.calls.Load(), s.succeeded.Load())
		}
	}
	t.Logf("%d kills, %d calls, %d of them succeeded, %d changes under an ETag", kills, s.calls.Load(), s.succeeded.Load(), s.edited.Load())
	for _, text := range slices.Sorted(maps.Keys(s.faults)) {
		t.Logf("%d × %s", s.faults[text], text)
	}
	s.clear()
	s.clean(fmt.Sprintf("SEED=%d", seed))
}

func number(t *testing.T, env string, def int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return def
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number", env, text)
	}
	return n
}

// round lets the workers loose, kills the daemon at a random instant, and starts it again.
func (s *storm) round(random *rand.Rand) {
	d := s.d
	d.T.Helper()
	s.recent = nil
	var workers sync.WaitGroup
	stop := make(chan struct{})
	for n := range stormWorkers {
		w := &worker{storm: s, Rand: rand.New(rand.NewPCG(random.Uint64(), uint64(n))), n: n}
		var err error
		if w.Client, err = client.ConnectUnix(d.Dir + "/unix.socket"); err != nil {
			d.T.Fatal(err)
		}
		workers.Go(func() { w.work(stop) })
	}
	time.Sleep(time.Duration(50_000+random.IntN(stormMoment)) * time.Microsecond) // the random instant
	close(stop)
	if d.Ended() {
		d.T.Fatalf("the daemon has ended by itself\nlast calls:\n%s\n%s", strings.Join(s.recent, "\n"), d.Log())
	}
	d.Kill()
	workers.Wait()
	d.Start()
}

// note keeps what a call came to.
func (s *storm) note(call string, err error) {
	s.calls.Add(1)
	text := "done"
	if err == nil {
		s.succeeded.Add(1)
	} else {
		text = err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.recent = append(s.recent, time.Now().UTC().Format("15:04:05.000 ")+call+": "+text); len(s.recent) > 60 {
		s.recent = s.recent[1:]
	}
	if err != nil && broken(err) {
		s.faults[call+": "+text]++
	}
}

package faults

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

const (
	stormRounds  = 20
	stormWorkers = 4
)

// TestAStormOfKillsLosesNothing kills the daemon at random instants of launches, snapshots, renames and deletions that run side by
// side, again and again, without clearing up in between.
func TestAStormOfKillsLosesNothing(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	b := newBench(t)
	d := b.d
	for round := range stormRounds {
		point := fmt.Sprintf("seed %d round %d", seed, round)
		var workers sync.WaitGroup
		stop := make(chan struct{})
		for w := range stormWorkers {
			r := rand.New(rand.NewPCG(random.Uint64(), uint64(w)))
			workers.Go(func() { b.worker(w, r, stop) })
		}
		time.Sleep(time.Duration(50+random.IntN(800)) * time.Millisecond) // the random instant
		d.Kill()
		close(stop)
		workers.Wait()
		d.Start()
		b.quiet(point)
		b.whole(point)
		counts.storms.Add(1)
		if t.Failed() {
			t.Fatalf("%s\n%s", point, d.Log())
		}
	}
	for _, i := range instances(d) {
		b.must([][]string{{"delete", "--force", i.Name}})
	}
	var volumes []struct{ Name string }
	get(d, "storage-pools/default/volumes/custom?recursion=1", &volumes)
	for _, v := range volumes {
		b.must([][]string{{"storage", "volume", "delete", "default", v.Name}})
	}
	if get(d, "images/"+tinyPrint, nil) {
		b.must(calls("image delete " + tinyPrint))
	}
	b.clean(fmt.Sprintf("seed %d", seed))
}

// worker makes random changes of two instances and two volumes of its own, and of an image that all share. Any of them may fail: what it acts on may not be there.
func (b *bench) worker(w int, r *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		name, other := fmt.Sprintf("w%d-a", w), fmt.Sprintf("w%d-b", w)
		if r.IntN(2) == 0 {
			name, other = other, name
		}
		choices := calls("launch bb "+name, "launch bb "+name, "delete -f "+name, "init bb "+name, "snapshot "+name+" s1", "delete "+name+"/s1",
			"stop -f "+name, "start "+name, "rename "+name+" "+other, "copy "+name+" "+other, "restore "+name+" s1",
			"image import $TINY", "image delete "+tinyPrint, "storage volume create default "+name, "storage volume delete default "+name)
		_, _ = b.try(choices[r.IntN(len(choices))])
	}
}

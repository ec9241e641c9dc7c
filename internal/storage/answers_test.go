package storage

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
	"github.com/berthd/berth/internal/lock"
)

// frozen is a driver whose pool takes no change until it is thawed.
type frozen struct {
	storagedriver.Driver
	asked  chan struct{}
	thawed chan struct{}
}

func (f frozen) Answers() error {
	f.asked <- struct{}{}
	<-f.thawed
	return f.Driver.(storagedriver.Answerer).Answers()
}

// DeleteVolume hangs as long.
func (f frozen) DeleteVolume(ctx context.Context, v storagedriver.Volume) error {
	if err := f.Answers(); err != nil {
		return err
	}
	return f.Driver.DeleteVolume(ctx, v)
}

// TestAPoolThatTakesNoChangesDoesNotAnswer, and once it has not, who asks is told at once.
func TestAPoolThatTakesNoChangesDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.pool("cold", nil))
	w.build()
	f := frozen{asked: make(chan struct{}, 9), thawed: make(chan struct{})}
	w.service.Drivers = map[string]Open{"dir": func(c storagedriver.Config) storagedriver.Driver {
		if d := dir.New(c); c.Options["source"] == w.root+"/storage-pools/cold" {
			f.Driver = d
			return f
		} else {
			return d
		}
	}}
	w.ok(w.service.Store.Load(w.ctx))
	w.service.answerTime = 1
	w.fails(w.service.Answers(w.ctx, "cold"), http.StatusServiceUnavailable, `Storage pool "cold" does not answer`)
	w.fails(w.service.Answers(w.ctx, "cold"), http.StatusServiceUnavailable, `Storage pool "cold" does not answer`)
	if n := len(f.asked); n > 1 {
		t.Errorf("it was asked %d times", n)
	}
	w.ok(w.service.Answers(w.ctx, "none")) // what fails at once is for who uses it to say
	w.service.answerTime = answerTime
	w.ok(w.service.Answers(w.ctx, "p"))
	close(f.thawed)
	for w.service.Answers(w.ctx, "cold") != nil { // until the question that was left behind has ended
		if w.ctx.Err() != nil {
			t.Fatal("it does not answer")
		}
	}
}

// TestARecoveryOfAVolumeAsksItsPoolFirst: what it had claimed stayed claimed for as long as the pool hung.
func TestARecoveryOfAVolumeAsksItsPoolFirst(t *testing.T) {
	w := newWorld(t)
	w.ok(w.pool("p", nil))
	w.ok(w.create("v", api.StorageVolumeSource{}))
	entry, err := w.journal.Begin(w.ctx, kindVolumeDelete, deletion(w))
	w.ok(err)
	entry.Leave(errors.New("its pool does not answer"))
	f := frozen{w.service.open["p"], make(chan struct{}, 9), make(chan struct{})}
	w.service.open["p"] = f
	settled := make(chan struct{})
	go func() {
		defer close(settled)
		w.service.settle(w.ctx, custom("v"), "")
	}()
	<-f.asked
	for _, o := range []lock.Object{custom("v").Object(), lock.ForPool("p")} {
		held, other := w.service.Locks.Try(lock.Claim{Action: "test"}, lock.Exclusive(o))
		if other != nil {
			t.Errorf("%v is held by %q", o, other.Action())
			continue
		}
		held.Release()
	}
	close(f.thawed)
	<-settled
	if n := w.journal.Pending(); n != 0 {
		t.Errorf("%d entries", n)
	}
	w.ok(w.service.DeletePool(w.ctx, "p"))
}

package storage

import (
	"net/http"
	"testing"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/driver/storage/dir"
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

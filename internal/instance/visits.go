package instance

import (
	"sync"
	"time"
)

// leaveTime is how long a change of an instance waits for those who use its files for longer than one call, once they have been told to
// go. Whoever is stuck then, in a file system of the guest's that does not answer, goes when that does.
const leaveTime = 2 * time.Second

// visits are the uses of instances' files: of what one sees itself while it runs, or of its volume while it does not.
type visits struct {
	mu sync.Mutex
	in map[visited]*visit
}

type visited struct {
	id   string
	runs bool
}

// visit is all who use the files of one run, or of one time of rest.
type visit struct {
	gone  chan struct{}
	count int
	empty chan struct{} // closed when the last has left after gone
}

// enter registers a use; leave ends it.
func (v *visits) enter(at visited) (gone <-chan struct{}, leave func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	one := v.in[at]
	if one == nil {
		if v.in == nil {
			v.in = map[visited]*visit{}
		}
		one = &visit{gone: make(chan struct{}), empty: make(chan struct{})}
		v.in[at] = one
	}
	one.count++
	return one.gone, sync.OnceFunc(func() { v.leave(at, one) })
}

func (v *visits) leave(at visited, one *visit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if one.count--; one.count > 0 {
		return
	}
	if v.in[at] == one {
		delete(v.in, at)
	}
	close(one.empty)
}

// expel tells those who are there to go, and waits until they have.
func (v *visits) expel(at visited) {
	v.mu.Lock()
	one := v.in[at]
	delete(v.in, at)
	v.mu.Unlock()
	if one == nil {
		return
	}
	close(one.gone)
	late := time.NewTimer(leaveTime)
	defer late.Stop()
	select {
	case <-one.empty:
	case <-late.C:
	}
}

// emptyVolume sends away who uses the volume of an instance that does not run, before it is taken from under them; and, deferred, who
// came while that was done.
func (s *Service) emptyVolume(i *Instance) { s.visits.expel(visited{i.id(), false}) }

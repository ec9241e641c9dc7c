package instance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// run is one run of an instance, from its start to its end.
type run struct {
	project, name, id, uuid string

	release func() error // of the root volume
	has     atomic.Pointer[live]
	// atShutdown is set when the instance is stopped because the host shuts down: the next daemon starts it again.
	atShutdown atomic.Bool
	turn       turn

	once sync.Once
	done chan struct{} // closed when everything is cleaned up
}

func newRun(i *Instance, has *live) *run {
	r := &run{project: i.Project, name: i.Name, id: i.id(), uuid: i.UUID, done: make(chan struct{})}
	r.has.Store(has)
	return r
}

// live is what the instance has now.
func (r *run) live() *live { return r.has.Load() }

// runs are the instances that run, by ID.
type runs struct {
	table *store.Table[live]
	mu    sync.Mutex
	list  map[string]*run
	cpus  sync.Mutex // see rebalance
	// revived are instances, by identity, that a change had stopped when the daemon ended. Autostart starts them whatever their boot.* keys say,
	// and pauses again those that are true here.
	revived map[string]bool
	picked  bool // Autostart has read that already
	// requests counts, by identity, what users have asked for that ends the wish to start an instance at the daemon's start.
	requests map[string]int
}

// ask counts a request of a user for an instance, if there is one of that name.
func (s *Service) ask(project, name string) {
	r := &s.runs
	r.mu.Lock()
	defer r.mu.Unlock()
	row, err := s.get(project, name) // after the deletion it is not there, and before it forget is still to come
	if err != nil {
		return
	}
	if r.requests == nil {
		r.requests = map[string]int{}
	}
	r.requests[row.Value.identity()]++
}

func (r *runs) asked(identity string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[identity]
}

// forget drops what is known of an instance that has been deleted.
func (r *runs) forget(identity string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.requests, identity)
	delete(r.revived, identity)
}

// revive has Autostart start an instance, unless it is late for that; one that was paused is paused again in either case.
func (r *runs) revive(identity string, paused bool) (late bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revived == nil {
		r.revived = map[string]bool{}
	}
	r.revived[identity] = r.revived[identity] || paused
	return r.picked
}

// pick ends the time in which revive is not late.
func (r *runs) pick() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.picked = true
}

func (r *runs) isRevived(identity string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.revived[identity]
	return ok
}

func (r *runs) wasPaused(identity string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.revived[identity]
}

func (r *runs) all() []*run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Values(r.list))
}

func (r *runs) set(one *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list == nil {
		r.list = map[string]*run{}
	}
	r.list[one.id] = one
}

func (r *runs) get(id string) *run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list[id]
}

func (r *runs) drop(one *run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.list[one.id] == one {
		delete(r.list, one.id)
	}
}

// watch registers a run and has exited called when it ends, for whatever reason.
func (s *Service) watch(r *run) {
	s.runs.set(r)
	s.Runtime.Watch(r.id, func() {
		s.tasks.Add(1)
		go func() {
			defer s.tasks.Done()
			s.exited(r)
		}()
	})
}

// exited cleans up after an instance that ended by itself. A stop through the API does its own clean-up while it holds the
// lock; then nothing is left to do here.
func (s *Service) exited(r *run) {
	l, err := s.acquire(s.background, r.project, r.name, "exit", lock.Unbounded)
	if err != nil {
		return // the daemon ends; the next one finds out
	}
	defer l.Release()
	s.finish(s.background, r, "instance-shutdown", true)
}

// finish cleans up after a run, once, with the instance's lock held. action is the event to publish, "" for none;
// last tells that the instance is not about to be started again, so that an ephemeral one goes.
func (s *Service) finish(ctx context.Context, r *run, action string, last bool) {
	r.once.Do(func() {
		defer close(r.done)
		defer s.runs.drop(r)
		work, cancel := detached(ctx)
		defer cancel()
		i, err := s.cleanUp(work, r, last)
		if err != nil {
			s.Log.Error("clean-up after an instance", "instance", r.name, "project", r.project, "err", err)
		}
		if action != "" {
			s.publish(ctx, r.project, action, url(r.project, r.name), nil)
		}
		if i != nil && i.Ephemeral && last {
			if err := s.removeEphemeral(work, i); err != nil {
				s.Log.Error("removal of an ephemeral instance", "instance", r.name, "project", r.project, "err", err)
			}
		}
	})
}

// look gives the record of an instance whose lock is held, and tells whether it runs. One that has ended by itself may still have to
// be cleaned up after, as whoever noticed that waits for the lock: what the caller is about to do must not come before it.
func (s *Service) look(ctx context.Context, project, name string) (row store.Row[Instance], runs bool, err error) {
	if row, err = s.get(project, name); err != nil || s.running(row.Value) {
		return row, err == nil, err
	}
	if r := s.runs.get(row.Value.id()); r != nil {
		s.finish(ctx, r, "instance-shutdown", true)
		row, err = s.get(project, name)
	}
	return row, false, err
}

// cleanUp cleans up the host after a run (processes, devices, mounts) and updates the record: it says stopped, or still running
// if the instance ended with the host, or is to be started again (not last), and nobody had asked for its stop: so the next daemon
// starts it. The record of an ephemeral instance that has ended for good goes on saying that it is being stopped: so it is
// removed, if not now once what keeps it is settled, or by the next daemon.
func (s *Service) cleanUp(ctx context.Context, r *run, last bool) (*Instance, error) {
	s.visits.expel(visited{r.id, true})
	s.visits.expel(visited{r.id, false}) // whoever could not get at the root of the run
	err := s.Runtime.Cleanup(ctx, r.id, r.uuid)
	row, gone := s.get(r.project, r.name)
	if gone != nil {
		return nil, errors.Join(err, s.dropDevicesPath(r.id))
	}
	i := row.Value
	if hitErr := stopGone.Hit(); hitErr != nil {
		err = errors.Join(err, hitErr)
	}
	volatile := s.stopDevices(ctx, i, r.live())
	if r.release != nil {
		err = errors.Join(err, r.release())
	}
	if hitErr := stopDevices.Hit(); hitErr != nil {
		err = errors.Join(err, hitErr)
	}
	err = errors.Join(err, s.modify(ctx, r.project, r.name, func(i *Instance) error {
		if last && !r.atShutdown.Load() || i.Stopping != "" {
			i.Config["volatile.last_state.power"] = powerStopped
		}
		if i.Stopping = ""; i.Ephemeral && last {
			i.Stopping = stopClean
		}
		for name, changes := range volatile {
			setDeviceVolatile(i.Config, name, changes)
		}
		return nil
	}, s.dropLive(r.project, r.name)))
	if hitErr := stopCommitted.Hit(); hitErr != nil {
		err = errors.Join(err, hitErr)
	}
	err = errors.Join(err, s.dropDevicesPath(r.id))
	s.runs.drop(r)
	s.rebalanceAfter(ctx, r)
	return i, err
}

// running tells whether an instance has processes.
func (s *Service) running(i *Instance) bool { return s.Runtime.Status(i.id()) != api.Stopped }

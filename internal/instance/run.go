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
	project, name, id string
	release           func() error // of the root volume
	has               atomic.Pointer[live]
	// atShutdown is set when the instance is stopped because the host shuts down: the next daemon starts it again.
	atShutdown atomic.Bool

	once sync.Once
	done chan struct{} // closed when everything is cleaned up
}

func newRun(i *Instance, has *live) *run {
	r := &run{project: i.Project, name: i.Name, id: i.id(), done: make(chan struct{})}
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
	// revived are instances that a change had stopped when the daemon ended. Autostart starts them whatever their boot.* keys say.
	revived []string
}

// revive has Autostart start an instance.
func (r *runs) revive(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.revived = append(r.revived, id)
}

func (r *runs) isRevived(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Contains(r.revived, id)
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
		i, err := s.settle(work, r)
		if err != nil {
			s.Log.Error("clean-up after an instance", "instance", r.name, "project", r.project, "err", err)
		}
		if action != "" {
			s.publish(ctx, r.project, action, url(r.name), nil)
		}
		if i != nil && i.Ephemeral && last {
			if err := s.removeEphemeral(work, i); err != nil {
				s.Log.Error("removal of an ephemeral instance", "instance", r.name, "project", r.project, "err", err)
			}
		}
	})
}

// settle cleans up the host after a run (processes, devices, mounts) and updates the record: it says stopped, or still running
// if the instance ended with the host and nobody had asked for its stop, so that the next daemon starts it.
func (s *Service) settle(ctx context.Context, r *run) (*Instance, error) {
	err := s.Runtime.Cleanup(ctx, r.id)
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
		if !r.atShutdown.Load() || i.Stopping != "" {
			i.Config["volatile.last_state.power"] = powerStopped
		}
		i.Stopping = ""
		for name, changes := range volatile {
			setDeviceVolatile(i.Config, name, changes)
		}
		return nil
	}, s.dropLive(r.project, r.name)))
	if hitErr := stopKept.Hit(); hitErr != nil {
		err = errors.Join(err, hitErr)
	}
	err = errors.Join(err, s.dropDevicesPath(r.id))
	s.runs.drop(r)
	s.rebalanceAfter(ctx, r)
	return i, err
}

// running tells whether an instance has processes.
func (s *Service) running(i *Instance) bool { return s.Runtime.Status(i.id()) != api.Stopped }

package instance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/lock"
)

// A change may wait for a disk that hangs: the source of a device that comes, or the pool that a snapshot goes to. What follows keeps such a disk
// from holding back who must end the run, and the change from beginning with what is being ended.

// passable are the actions that a forced stop and the host's shutdown pass by, until they have begun to change the run.
var passable = []string{"update", "snapshot", "publish"}

func passes(holder *lock.Held) bool { return slices.Contains(passable, holder.Action()) }

// turn keeps apart changes of a run and stops that pass them by.
type turn struct {
	mu       sync.Mutex
	changing bool
	ending   int
}

// change begins a change of the run, unless it is being ended.
func (t *turn) change() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ending > 0 {
		return false
	}
	t.changing = true
	return true
}

func (t *turn) changed() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changing = false
}

// end begins the end of the run, unless it is being changed.
func (t *turn) end() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.changing {
		return false
	}
	t.ending++
	return true
}

// goesOn takes back an end that has failed.
func (t *turn) goesOn() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending--
}

// takeTurns has steps change what runs, or fails where a run is being ended. Who has the instance's lock has the only change of its run.
func (s *Service) takeTurns(steps []*step) (done func(), err error) {
	var taken []*run
	done = func() {
		for _, r := range taken {
			r.turn.changed()
		}
	}
	for _, st := range steps {
		if st.run == nil || !s.effects(st) {
			continue
		}
		if !st.run.turn.change() {
			done()
			return nil, api.BadRequest("Instance is busy running a %q operation", "stop")
		}
		taken = append(taken, st.run)
	}
	return done, nil
}

// passed is a run that is to be ended beside a change that has the instance.
type passed struct {
	*run
	change *lock.Held
}

// holdToStop takes the lock of an instance that is to be stopped; other has it now. Where it is not to be had soon, a stop that must not wait ends the
// run beside the holder, if that does nothing to it: then that is beside, to be given to passBy.
func (s *Service) holdToStop(ctx context.Context, i *Instance, other *lock.Held, force bool) (held *lock.Held, beside *passed, err error) {
	r := s.runs.get(i.id())
	if r != nil && (force || r.atShutdown.Load()) && (other == nil || passes(other)) {
		held, err := s.acquire(ctx, i.Project, i.Name, "stop", lock.Soon)
		busy := (*lock.Busy)(nil)
		if !errors.As(err, &busy) {
			return held, nil, err
		}
		if passes(busy.Holder) && r.turn.end() {
			return nil, &passed{r, busy.Holder}, nil
		}
	}
	held, err = s.acquire(ctx, i.Project, i.Name, "stop", lock.Short)
	return held, nil, err
}

// passBy ends a run beside a change that has not begun with it. Who notices its end cleans up once that is over. It tells whether the change was still
// there.
func (s *Service) passBy(ctx context.Context, i *Instance, beside *passed, force bool, timeout time.Duration) (stopped bool, err error) {
	s.Log.Warn("An instance is stopped beside a change that does not come to an end", "instance", i.Name, "project", i.Project)
	stopped, err = s.stopBeside(ctx, i, beside.run, beside.change, force, timeout)
	if !stopped || err != nil {
		beside.turn.goesOn()
	}
	return stopped, err
}

// sourcesAnswer asks, before anything is held, what the devices of the host are on that edit adds to an instance, or changes. All else that is wrong with
// a change is told of under the lock.
func (s *Service) sourcesAnswer(ctx context.Context, project, name string, edit func(*Instance) error) error {
	row, err := s.get(project, name)
	if err != nil {
		return err
	}
	next := row.Value.clone()
	if edit(next) != nil || maps.EqualFunc(row.Value.Devices, next.Devices, maps.Equal[device.Config, device.Config]) && slices.Equal(row.Value.Profiles, next.Profiles) {
		return nil
	}
	if s.permitted("instance update", next) != nil {
		return nil
	}
	return s.devicesAnswer(ctx, next, s.effectiveOf(row.Value).Devices)
}

// devicesAnswer asks what the devices of an instance are on, but for those in had.
func (s *Service) devicesAnswer(ctx context.Context, i *Instance, had map[string]device.Config) error {
	after := s.effectiveOf(i)
	in := s.deviceInstance(i, after)
	for _, name := range sortedNames(after.Devices) {
		cfg := after.Devices[name]
		m, ok := s.Modules[cfg["type"]].(device.Answerer)
		if !ok || maps.Equal(had[name], cfg) {
			continue
		}
		if err := m.Answers(ctx, in, cfg); err != nil {
			return err
		}
	}
	return nil
}

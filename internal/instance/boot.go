package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

// retryPause is how long to wait before what could not be done at the start (an instance that could not be taken over, a
// pool that was not there yet) is tried again.
const retryPause = 10 * time.Second

// Adopt takes over the instances that run, and cleans up after those that ended while no daemon was there. Call it
// once, after the journal's recovery and before requests are let in. It does not start anything.
//
// What runs and cannot be taken over is left alone, shows the status Error, and is tried again in the background.
func (s *Service) Adopt(ctx context.Context) error {
	defer s.adopted.Store(true)
	found, err := s.Runtime.Find(ctx, s.owner)
	if err != nil { // what runs is not known: nothing is started, stopped or removed
		for _, i := range s.rows("") {
			s.adoptHeld(ctx, i)
		}
		s.adoptLater(s.rows(""))
		return fmt.Errorf("find the instances that run: %w", err)
	}
	known := map[string]bool{}
	var later []*Instance
	var ends sync.WaitGroup
	for _, i := range s.rows("") {
		known[i.id()] = true
		if !s.adoptOne(ctx, i, found, &ends) {
			later = append(later, i)
		}
	}
	for id := range found {
		if !known[id] { // the store may have been restored from a backup that is older than the instance
			s.Log.Warn("An instance runs that is not known; it is left alone", "id", id)
			known[id] = true
		}
	}
	s.adoptLater(later)
	s.waitForEnds(&ends)
	s.prepareDevices(ctx)
	return errors.Join(s.sweep(known), s.sweepConfinement(known))
}

// owner implements runtime.Owner.
func (s *Service) owner(id string) (uuid string, ok bool) {
	row, err := s.get(ofID(id))
	if err != nil {
		return "", false
	}
	return row.Value.UUID, true
}

// adoptOne takes over an instance if it runs, goes on in the background with a stop that had begun, and cleans up after it if it has
// ended. It tells whether that could be done; ends are forced stops that go on.
func (s *Service) adoptOne(ctx context.Context, i *Instance, found map[string]Process, ends *sync.WaitGroup) bool {
	process, runs := found[i.id()]
	r := newRun(i, s.liveNow(i))
	if process.Restart {
		runs = false
		if i.Stopping == "" {
			s.runs.revive(i.identity(), false)
		}
	}
	switch {
	case runs && process.Others(i.UUID):
		s.Log.Error("What runs under the name of an instance is another's", "instance", i.Name, "project", i.Project, "uuid", process.UUID)
		s.adoptHeld(ctx, i)
		return false
	case runs && i.Stopping == stopForce && process.Err != nil:
		s.adoptHeld(ctx, i)
		s.goOn(ends, func() { s.endLost(i) })
		return true
	case runs && process.Err != nil:
		s.Log.Error("A running instance could not be taken over", "instance", i.Name, "project", i.Project, "err", process.Err)
		s.adoptHeld(ctx, i)
		return false
	case !runs:
		if _, err := os.Lstat(s.devicesPath(i.id())); err != nil && i.Stopping == "" {
			return true
		}
		s.cleanUpDead(ctx, i, r, i.Config["volatile.last_state.power"] == powerRunning)
		return true
	}
	s.adopt(ctx, i, r)
	switch i.Stopping {
	case stopClean:
		s.tasks.Go(func() { s.resumeStop(i) })
	case stopForce:
		s.goOn(ends, func() { s.resumeStop(i) })
	}
	return true
}

func (s *Service) adopt(ctx context.Context, i *Instance, r *run) {
	release, err := s.Volumes.Mount(ctx, i.volume())
	if err != nil {
		s.Log.Error("volume of a running instance", "instance", i.Name, "project", i.Project, "err", err)
	}
	r.release = release
	s.adoptLive(ctx, i, r)
	s.watch(r)
	if i.Config["volatile.last_state.power"] == powerRunning {
		return
	}
	// The store says that it is stopped: it was restored from a backup made before the start.
	if err := s.modify(ctx, i.Project, i.Name, func(stored *Instance) error {
		stored.Config["volatile.last_state.power"] = powerRunning
		return nil
	}); err != nil {
		s.Log.Error("power state", "instance", i.Name, "project", i.Project, "err", err)
	}
}

// adoptLater tries again to take over instances, until it is done with each.
func (s *Service) adoptLater(list []*Instance) {
	if len(list) == 0 {
		return
	}
	s.tasks.Go(func() {
		for len(list) > 0 && s.pause(retryPause) {
			found, err := s.Runtime.Find(s.background, s.owner)
			if err != nil {
				continue
			}
			list = slices.DeleteFunc(list, func(i *Instance) bool { return s.adoptAgain(i, found) })
		}
	})
}

// adoptAgain is adoptOne for an instance that others may have changed meanwhile.
func (s *Service) adoptAgain(i *Instance, found map[string]Process) (done bool) {
	row, release, err := s.hold(s.background, i.Project, i.Name, "adopt", lock.Short)
	if err != nil {
		return api.IsNotFound(err)
	}
	defer release()
	return s.runs.get(i.id()) != nil || s.adoptOne(s.background, row.Value, found, &sync.WaitGroup{})
}

// pause waits, and tells whether the service goes on.
func (s *Service) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.background.Done():
		return false
	}
}

// cleanUpDead cleans up after a run that nobody watched the end of. restart keeps the power state, from which Autostart
// sees that the instance ought to run, unless a stop was under way: then one that is ephemeral goes.
func (s *Service) cleanUpDead(ctx context.Context, i *Instance, r *run, restart bool) {
	last := i.Stopping != ""
	r.atShutdown.Store(restart)
	if _, err := s.cleanUp(ctx, r, last); err != nil {
		s.Log.Error("clean-up after an instance", "instance", r.name, "project", r.project, "err", err)
	}
	if i.Ephemeral && last {
		if err := s.removeEphemeral(ctx, i); err != nil {
			s.Log.Error("removal of an ephemeral instance", "instance", r.name, "project", r.project, "err", err)
		}
	}
}

// sweep removes folders of runs of instances that are gone.
func (s *Service) sweep(known map[string]bool) error {
	entries, err := os.ReadDir(filepath.Join(s.Root, "devices"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if !known[e.Name()] {
			err = errors.Join(err, s.dropDevicesPath(e.Name()))
		}
	}
	return err
}

package instance

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// Adopt takes over the instances that run, and cleans up after those that ended while no daemon was there. Call it
// once, after the journal's recovery and before requests are let in. It does not start anything.
func (s *Service) Adopt(ctx context.Context) error {
	found, err := s.Runtime.Find(ctx)
	if err != nil {
		return err
	}
	known := map[string]bool{}
	for _, row := range s.instances.List() {
		i := row.Value
		known[i.id()] = true
		r := &run{project: i.Project, name: i.Name, id: i.id(), done: make(chan struct{}), devices: s.effectiveOf(i).Devices}
		if _, runs := found[i.id()]; runs {
			if i.Config["volatile.last_state.power"] == powerRunning {
				s.adopt(ctx, i, r)
				continue
			}
			// A stop got as far as saying so; it ends here.
			if err := s.Runtime.Kill(ctx, i.id()); err != nil {
				s.Log.Error("An instance that should be stopped runs", "instance", i.Name, "err", err)
				continue
			}
			s.settleDead(ctx, r, false)
			continue
		}
		if _, err := os.Lstat(s.devicesPath(i.id())); err == nil {
			s.settleDead(ctx, r, i.Config["volatile.last_state.power"] == powerRunning)
		}
	}
	for id := range found {
		if known[id] {
			continue
		}
		s.Log.Warn("Ending a running instance that is not known any more", "id", id)
		if err := s.Runtime.Kill(ctx, id); err != nil {
			s.Log.Error("An unknown instance could not be ended", "id", id, "err", err)
		}
		_ = s.Runtime.Cleanup(ctx, id)
	}
	return errors.Join(s.sweep(known), s.sweepConfinement(known))
}

func (s *Service) adopt(ctx context.Context, i *Instance, r *run) {
	release, err := s.Volumes.Mount(ctx, i.volume())
	if err != nil {
		s.Log.Error("volume of a running instance", "instance", i.Name, "err", err)
	}
	r.release = release
	s.watch(r)
}

// settleDead cleans up after a run that nobody watched the end of. restart keeps the power state, from which Autostart
// sees that the instance ought to run.
func (s *Service) settleDead(ctx context.Context, r *run, restart bool) {
	if _, err := s.settle(ctx, r); err != nil {
		s.Log.Error("clean-up after an instance", "instance", r.name, "err", err)
	}
	if !restart {
		return
	}
	if err := s.modify(ctx, r.project, r.name, func(i *Instance) error {
		i.Config["volatile.last_state.power"] = powerRunning
		return nil
	}); err != nil {
		s.Log.Error("clean-up after an instance", "instance", r.name, "err", err)
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

// Autostart starts, in the background, the instances that boot.autostart or their last state asks for: by priority,
// with their delays. The channel is closed when it is done.
func (s *Service) Autostart() <-chan struct{} {
	done := make(chan struct{})
	s.tasks.Add(1)
	go func() {
		defer s.tasks.Done()
		defer close(done)
		for _, i := range s.wanted() {
			if s.background.Err() != nil {
				return
			}
			if err := s.doStart(s.background, i.project, i.name); err != nil {
				s.Log.Error("Failed to start instance", "instance", i.name, "project", i.project, "err", err)
				continue
			}
			if i.delay <= 0 {
				continue
			}
			timer := time.NewTimer(i.delay)
			select {
			case <-timer.C:
			case <-s.background.Done():
				timer.Stop()
				return
			}
		}
	}()
	return done
}

type candidate struct {
	project, name string
	priority      int64
	delay         time.Duration
}

// wanted lists what is to be started, in order.
func (s *Service) wanted() []candidate {
	var all []candidate
	for _, i := range s.rows("") {
		if i.Creating || s.running(i) {
			continue
		}
		c, _ := expand(s.Profiles, i.Project, &i.Body)
		auto := c["boot.autostart"]
		if config.IsTrue(auto) || (auto == "" && i.Config["volatile.last_state.power"] == powerRunning) {
			all = append(all, candidate{
				project: i.Project, name: i.Name,
				priority: Keys.GetInt(c, "boot.autostart.priority"),
				delay:    time.Duration(Keys.GetInt(c, "boot.autostart.delay")) * time.Second,
			})
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].priority > all[b].priority })
	return all
}

// StopAll ends every running instance because the daemon shuts down: cleanly, by priority, each within its own
// boot.host_shutdown_timeout. They keep their power state, so that the next daemon starts them again.
func (s *Service) StopAll(ctx context.Context) {
	byPriority := map[int64][]*Instance{}
	for _, i := range s.rows("") {
		if !s.running(i) {
			continue
		}
		c, _ := expand(s.Profiles, i.Project, &i.Body)
		p := Keys.GetInt(c, "boot.stop.priority")
		byPriority[p] = append(byPriority[p], i)
	}
	order := make([]int64, 0, len(byPriority))
	for p := range byPriority {
		order = append(order, p)
	}
	sort.Slice(order, func(a, b int) bool { return order[a] > order[b] })
	for _, p := range order {
		var wg sync.WaitGroup
		for _, i := range byPriority[p] {
			wg.Add(1)
			go func() {
				defer wg.Done()
				s.stopForShutdown(ctx, i)
			}()
		}
		wg.Wait()
	}
}

func (s *Service) stopForShutdown(ctx context.Context, i *Instance) {
	c, _ := expand(s.Profiles, i.Project, &i.Body)
	timeout := time.Duration(Keys.GetInt(c, "boot.host_shutdown_timeout")) * time.Second
	err := s.stop(ctx, i.Project, i.Name, false, max(timeout, time.Second))
	if err != nil && s.running(i) {
		err = s.stop(ctx, i.Project, i.Name, true, 0)
	}
	if err != nil && s.running(i) {
		s.Log.Error("An instance could not be stopped", "instance", i.Name, "err", err)
		return
	}
	err = s.modify(ctx, i.Project, i.Name, func(i *Instance) error {
		i.Config["volatile.last_state.power"] = powerRunning
		return nil
	})
	if err != nil && !api.IsNotFound(err) { // an ephemeral one is gone
		s.Log.Error("power state", "instance", i.Name, "err", err)
	}
}

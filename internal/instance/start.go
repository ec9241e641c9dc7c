package instance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/kmod"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/store"
)

var (
	startMarked    = fault.New("instance.start.marked")
	startDevices   = fault.New("instance.start.devices")
	startCommitted = fault.New("instance.start.committed")
	startRunning   = fault.New("instance.start.running")
)

// start runs an instance whose lock is held, unless it is being copied.
func (s *Service) start(ctx context.Context, i *Instance) error {
	held, err := s.holdForStart(ctx, "start", i)
	if err != nil {
		return err
	}
	defer held.Release()
	return s.startHeld(ctx, i)
}

// startHeld runs an instance that is held, with what its devices name, and of which no copy begins meanwhile.
//
// It needs no journal entry. The folder devices/<id> marks, from before the first effect on, that the host may hold
// something of the instance; the one commit says that it runs, before it does. What a killed daemon leaves is thus
// either a mark without a running instance, which cleanUp takes away, or a running instance that is known.
func (s *Service) startHeld(ctx context.Context, i *Instance) (err error) {
	if i.Creating {
		return api.BadRequest("Instance is not ready")
	}
	if s.Runtime.Status(i.id()) != api.Stopped {
		return api.BadRequest("The instance is already running")
	}
	eff, err := s.check(ctx, i, i)
	if err != nil {
		return err
	}
	claimed, unclaim, err := s.claimIDs(ctx, i, i, eff)
	if err != nil {
		return err
	}
	defer unclaim()
	if err := s.loadModules(ctx, eff.Config); err != nil {
		return err
	}
	r := newRun(i, liveOf(i, eff))
	if err := s.mark(i); err != nil {
		return err
	}
	before := i.Config["volatile.last_state.power"]
	mayBeRecorded := false
	defer func() {
		if err != nil {
			err = errors.Join(err, s.undoStart(ctx, i, r, mayBeRecorded, before))
		}
	}()
	if err := startMarked.Hit(); err != nil {
		return err
	}
	if r.release, err = s.Volumes.Mount(ctx, i.volume()); err != nil {
		return err
	}
	defer s.emptyVolume(i)
	s.emptyVolume(i)
	next, sp, err := s.compile(ctx, i, eff)
	if err != nil {
		return err
	}
	mayBeRecorded = true
	r.has.Store(liveOf(next, eff))
	if err := s.commitStarted(ctx, next, r.live(), claimed...); err != nil {
		return err
	}
	unclaim()
	if err := startCommitted.Hit(); err != nil {
		return err
	}
	if _, err := s.Runtime.Start(ctx, sp); err != nil {
		return err
	}
	if err := startRunning.Hit(); err != nil {
		return err
	}
	s.watch(r)
	s.rebalanceAfter(ctx, r)
	return nil
}

// compile prepares the host's side of a run: the owners of the files, devices, templates. It returns the instance with its
// volatile keys as they are from then on, and what the runtime is to run. The volume must be mounted.
func (s *Service) compile(ctx context.Context, i *Instance, eff *effective) (*Instance, *spec.Spec, error) {
	if err := restrictFolder(s.Volumes.Path(i.volume()), eff.IDMap); err != nil {
		return nil, nil, err
	}
	if err := s.applyPendingQuota(ctx, i); err != nil {
		return nil, nil, err
	}
	next := i.clone()
	setIDMap(next.Config, eff)
	if err := s.shift(ctx, next, eff); err != nil {
		return nil, nil, err
	}
	contributions, err := s.startDevices(ctx, next, eff)
	if err != nil {
		return nil, nil, err
	}
	if err := startDevices.Hit(); err != nil {
		return nil, nil, err
	}
	if err := s.applyTemplates(ctx, next, eff, "start"); err != nil {
		return nil, nil, err
	}
	sp, err := Plan(PlanInput{
		Instance:      next,
		Config:        eff.Config,
		RootPath:      filepath.Join(s.Volumes.Path(i.volume()), "rootfs"),
		RootReadOnly:  config.IsTrue(eff.Devices[eff.Root]["readonly"]),
		Idmapped:      s.unshifted(i),
		IDMap:         eff.IDMap,
		Contributions: contributions,
		CPUs:          s.cpus(i.id(), eff.Config),
		Host:          s.Host,
	})
	if err != nil {
		return nil, nil, err
	}
	delete(next.Config, "volatile.apply_template")
	next.Config["volatile.idmap.current"] = idmap.Encode(eff.IDMap)
	next.Config["volatile.last_state.power"] = powerRunning
	next.LastUsedAt = time.Now().UTC()
	return next, sp, nil
}

// commitStarted records that an instance runs, and what it has.
func (s *Service) commitStarted(ctx context.Context, next *Instance, has *live, with ...store.Op) error {
	return s.modify(ctx, next.Project, next.Name, func(stored *Instance) error {
		stored.Config, stored.LastUsedAt, stored.Shifting, stored.Stopping = next.Config, next.LastUsedAt, next.Shifting, ""
		return nil
	}, append(with, s.putLive(next, has))...)
}

// loadModules brings linux.kernel_modules into the kernel. They stay when the instance ends: others may use them.
func (s *Service) loadModules(ctx context.Context, c map[string]string) error {
	names, err := kmod.Parse(c["linux.kernel_modules"])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := s.LoadModule(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Values of volatile.last_state.power.
const (
	powerRunning = "RUNNING"
	powerStopped = "STOPPED"
)

// mark makes the folders that a run needs.
func (s *Service) mark(i *Instance) error {
	if err := os.MkdirAll(s.logPath(i.id()), 0o700); err != nil {
		return err
	}
	return os.MkdirAll(s.devicesPath(i.id()), 0o711)
}

// undoStart takes away what a failed start has made; mayBeRecorded tells that the record may say it runs.
func (s *Service) undoStart(ctx context.Context, i *Instance, r *run, mayBeRecorded bool, power string) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	err := s.Runtime.Cleanup(ctx, i.id(), i.UUID)
	volatile := s.stopDevices(ctx, i, r.live())
	if r.release != nil {
		err = errors.Join(err, r.release())
	}
	if mayBeRecorded {
		err = errors.Join(err, s.modify(ctx, i.Project, i.Name, func(stored *Instance) error {
			stored.LastUsedAt = i.LastUsedAt
			if power == "" || power == powerRunning {
				power = powerStopped
			}
			stored.Config["volatile.last_state.power"] = power
			if t := i.Config["volatile.apply_template"]; t != "" {
				stored.Config["volatile.apply_template"] = t
			}
			for name, changes := range volatile {
				setDeviceVolatile(stored.Config, name, changes)
			}
			return nil
		}, s.dropLive(i.Project, i.Name)))
	}
	return errors.Join(err, s.dropDevicesPath(i.id()))
}

// startDevices prepares the host's side of all devices and notes their volatile keys in i. On error those that were
// started are left to stopDevices. What the devices name must be held.
func (s *Service) startDevices(ctx context.Context, i *Instance, e *effective) ([]device.Contribution, error) {
	in := s.deviceInstance(i, e)
	var all []device.Contribution
	for _, name := range sortedNames(e.Devices) {
		cfg := e.Devices[name]
		if isRoot(cfg) {
			continue
		}
		c, err := s.Modules[cfg["type"]].Start(ctx, in, name, cfg, deviceVolatile(i.Config, name))
		if err != nil {
			return nil, fmt.Errorf("Failed to start device %q: %w", name, err)
		}
		setDeviceVolatile(i.Config, name, c.Volatile)
		all = append(all, c)
	}
	return all, nil
}

// stopDevices undoes the host's side of the devices that an instance has, the last first, whether they were started or
// not. It goes on after errors: nothing may stay behind because something else did. It returns the volatile keys to
// change.
func (s *Service) stopDevices(ctx context.Context, i *Instance, has *live) map[string]map[string]string {
	volatile := map[string]map[string]string{}
	for _, name := range slices.Backward(sortedNames(has.configs())) {
		cfg := has.Devices[name].Config
		m, ok := s.Modules[cfg["type"]]
		if !ok || isRoot(cfg) {
			continue
		}
		changes, err := m.Stop(ctx, has.of(s, i, name), name, cfg, has.volatile(i, name))
		if err != nil {
			s.Log.Error("Failed to stop device", "instance", i.Name, "project", i.Project, "device", name, "err", err)
		}
		volatile[name] = changes
	}
	return volatile
}

package instance

import (
	"context"
	"errors"
	"fmt"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

var (
	deleteBegun  = fault.New("instance.delete.begun")
	deleteVolume = fault.New("instance.delete.volume")
	deleteLinks  = fault.New("instance.delete.links")
)

// Delete checks that an instance may go and returns the work.
func (s *Service) Delete(_ context.Context, project, name string) (*operation.Task, error) {
	row, err := s.get(project, name)
	if err != nil {
		return nil, err
	}
	if s.running(row.Value) {
		return nil, api.BadRequest("Instance is running")
	}
	return &operation.Task{
		Description: "Deleting instance",
		Resources:   resources(name),
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.delete(ctx, project, name)
		},
	}, nil
}

func (s *Service) delete(ctx context.Context, project, name string) error {
	row, release, err := s.holdStopped(ctx, project, name, "delete", "Instance is running")
	if err != nil {
		return err
	}
	defer release()
	i := row.Value
	c, _ := expand(s.Profiles, project, &i.Body)
	if config.IsTrue(c["security.protection.delete"]) {
		return api.BadRequest("Container is protected")
	}
	content, err := s.holdVolume(ctx, "delete", lock.Short, i)
	if err != nil {
		return err
	}
	defer content.Release()
	return s.remove(ctx, i, false)
}

// remove takes an instance away with all that belongs to it; its lock and its volume are held. Once the volume is gone it is finished,
// now or later; before that only if it is to go in any case.
func (s *Service) remove(ctx context.Context, i *Instance, anyCase bool) error {
	c := changeOf(i)
	entry, err := s.Journal.Begin(ctx, kindDelete, c)
	if err != nil {
		return err
	}
	if err := deleteBegun.Hit(); err != nil {
		return errors.Join(err, entry.Close(ctx))
	}
	snapshots := s.snapshots.List(i.Project, i.Name)
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := s.removeVolume(ctx, i); err != nil {
		err = fmt.Errorf("Failed deleting instance: %w", err)
		if anyCase || !s.kept(ctx, i.volume(), err) {
			entry.Leave(err)
			return err
		}
		s.deviceAdded(ctx, i, nil, s.effectiveOf(i))
		return errors.Join(err, entry.Close(ctx))
	}
	if err := s.removeRest(ctx, i, entry.Done()); err != nil {
		err = fmt.Errorf("Failed deleting instance: %w", err)
		entry.Leave(err)
		return err
	}
	for n := len(snapshots) - 1; n >= 0; n-- {
		s.publish(ctx, i.Project, "instance-snapshot-deleted", snapshotURL(i.Project, i.Name, snapshots[n].Path[2]), nil)
	}
	s.publish(ctx, i.Project, "instance-deleted", url(i.Project, i.Name), nil)
	return nil
}

// removeEphemeral is remove for an instance that has just stopped, once nobody copies it any more. One that an unfinished change keeps goes when that is
// settled.
func (s *Service) removeEphemeral(ctx context.Context, i *Instance) error {
	content, err := s.holdVolume(s.background, "delete", lock.Unbounded, i)
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.unsettled(i.Project, i.Name, "delete"); err != nil {
		s.tasks.Go(func() { s.removeOnceSettled(i) })
		return err
	}
	ctx, cancel := detached(ctx) // a copy may have taken longer than the stop had
	defer cancel()
	return s.remove(ctx, i, true)
}

// removeOnceSettled removes an ephemeral instance that has ended, and that unfinished changes keep, when none does any more.
func (s *Service) removeOnceSettled(i *Instance) {
	for {
		settled := s.Journal.NextSettled(i.UUID)
		held, err := s.acquire(s.background, i.Project, i.Name, "delete", lock.Unbounded)
		if err == nil {
			defer held.Release()
			break
		}
		if !api.IsUnavailable(err) {
			return // the daemon ends; the next one removes it
		}
		select {
		case <-settled:
		case <-s.background.Done():
			return
		}
	}
	row, runs, err := s.look(s.background, i.Project, i.Name)
	if err != nil || runs || row.Value.UUID != i.UUID || !row.Value.Ephemeral || row.Value.Stopping == "" {
		return // it is gone, or has been started since: its next stop removes it
	}
	if err := s.removeEphemeral(s.background, row.Value); err != nil {
		s.Log.Error("removal of an ephemeral instance", "instance", i.Name, "project", i.Project, "err", err)
	}
}

// kept tells whether all of a volume is there although it was to be deleted, which failed with err. Who wanted that was told so: by a later attempt the
// volume may be wanted, or in use. A pool that was not reached has lost nothing; any other says whether the volume is there.
func (s *Service) kept(ctx context.Context, v storage.VolumeID, err error) bool {
	if api.IsUnavailable(err) {
		return true
	}
	there, err := s.Volumes.Exists(ctx, v)
	return err == nil && there
}

// removeVolume does the first steps of a removal. They are idempotent, as those of removeRest are: recovery repeats them all.
func (s *Service) removeVolume(ctx context.Context, i *Instance) error {
	s.forgetDevices(ctx, i)
	s.forgetConfinement(i)
	defer s.emptyVolume(i)
	s.emptyVolume(i)
	if err := s.Volumes.Delete(ctx, i.volume()); err != nil && !api.IsNotFound(err) {
		return err
	}
	return nil
}

// removeRest does the others, once the volume is gone. with is committed with the last.
func (s *Service) removeRest(ctx context.Context, i *Instance, with ...store.Op) error {
	defer s.emptyVolume(i)
	if err := s.Volumes.Delete(ctx, s.volumesOf(i)[1:]...); err != nil && !api.IsNotFound(err) {
		return err
	}
	if err := deleteVolume.Hit(); err != nil {
		return err
	}
	if err := s.unlinkAll(i.id()); err != nil {
		return err
	}
	if err := deleteLinks.Hit(); err != nil {
		return err
	}
	return s.forget(ctx, i, with...)
}

// forget removes the records of an instance, of its snapshots and of their volumes. Its own goes last: as long as it is there,
// recovery knows that records are left to remove.
func (s *Service) forget(ctx context.Context, i *Instance, with ...store.Op) error {
	var ops []store.Op
	for _, row := range s.snapshots.List(i.Project, i.Name) {
		ops = append(ops, s.snapshots.Remove(row.Path...), s.Volumes.Forget(i.snapshotVolume(row.Path[2])))
	}
	_, err := s.Store.CommitAll(ctx, ops, append(with, s.instances.Remove(i.Project, i.Name), s.Volumes.Forget(i.volume()))...)
	if err == nil {
		s.runs.forget(i.identity())
	}
	return err
}

// forgetDevices drops what modules keep for the devices of an instance beyond its stop.
func (s *Service) forgetDevices(ctx context.Context, i *Instance) {
	c, devices := expand(s.Profiles, i.Project, &i.Body)
	in := s.deviceInstance(i, &effective{Config: c, Devices: devices})
	for name, cfg := range devices {
		s.forgetDevice(ctx, in, name, cfg, deviceVolatile(i.Config, name))
	}
}

func (s *Service) forgetDevice(ctx context.Context, in device.Instance, name string, cfg device.Config, volatile map[string]string) {
	m, ok := s.Modules[cfg["type"]].(device.Remover)
	if !ok || isRoot(cfg) {
		return
	}
	if err := m.Remove(ctx, in, name, cfg, volatile); err != nil {
		s.Log.Error("Failed to remove device", "instance", in.Name, "project", in.Project, "device", name, "err", err)
	}
}

// finishDelete is the recovery of a removal that was cut off. An instance that runs has been wanted since, and stays.
func (s *Service) finishDelete(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if !ok {
		return nil
	}
	if err := s.atRest(ctx, i); err != nil {
		if s.Runtime.Status(i.id()) != api.Running {
			return err
		}
		s.Log.Warn("An instance runs whose removal was cut off; it stays", "instance", i.Name, "project", i.Project)
		return nil
	}
	if err := s.removeVolume(ctx, i); err != nil {
		return err
	}
	return s.removeRest(ctx, i)
}

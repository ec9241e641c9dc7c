package instance

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
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
	return s.remove(ctx, i)
}

// remove takes an instance away with all that belongs to it; its lock and its volume are held. Once the volume is gone it is finished,
// now or at the next start.
func (s *Service) remove(ctx context.Context, i *Instance) error {
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
	if err := s.removeWith(ctx, i, entry.Done()); err != nil {
		err = fmt.Errorf("Failed deleting instance: %w", err)
		if _, there := os.Lstat(s.Volumes.Path(i.volume())); there == nil {
			// Nothing is gone yet, and by the next start it may be wanted, or run.
			s.deviceAdded(ctx, i, nil, s.effectiveOf(i))
			return errors.Join(err, entry.Close(ctx))
		}
		entry.Leave(err)
		return err
	}
	for n := len(snapshots) - 1; n >= 0; n-- {
		s.publish(ctx, i.Project, "instance-snapshot-deleted", snapshotURL(i.Project, i.Name, snapshots[n].Path[2]), nil)
	}
	s.publish(ctx, i.Project, "instance-deleted", url(i.Project, i.Name), nil)
	return nil
}

// removeEphemeral is remove for an instance that has just stopped, once nobody copies it any more.
func (s *Service) removeEphemeral(ctx context.Context, i *Instance) error {
	content, err := s.holdVolume(s.background, "delete", lock.Unbounded, i)
	if err != nil {
		return err
	}
	defer content.Release()
	if err := s.unsettled(i.Project, i.Name, "delete"); err != nil {
		return err // the next daemon removes it
	}
	ctx, cancel := detached(ctx) // a copy may have taken longer than the stop had
	defer cancel()
	return s.remove(ctx, i)
}

// removeWith does the steps of a removal. Each is idempotent, as recovery repeats them from the start. with is committed with the last.
func (s *Service) removeWith(ctx context.Context, i *Instance, with ...store.Op) error {
	s.forgetDevices(ctx, i)
	s.forgetConfinement(i)
	defer s.emptyVolume(i)
	s.emptyVolume(i)
	if err := s.Volumes.Delete(ctx, s.volumesOf(i)...); err != nil && !api.IsNotFound(err) {
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
	return s.removeWith(ctx, i)
}

package instance

import (
	"context"
	"errors"
	"maps"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

var (
	moveBegun     = fault.New("instance.move.begun")
	moveCopied    = fault.New("instance.move.copied")
	moveCommitted = fault.New("instance.move.committed")
)

// moveTask checks a move to another pool, perhaps under another name, and returns the work.
func (s *Service) moveTask(_ context.Context, i *Instance, req api.InstancePost) (*operation.Task, error) {
	if req.Name == "" {
		req.Name = i.Name
	}
	if req.Name != i.Name {
		if err := s.checkNewName(i.Project, req.Name); err != nil {
			return nil, err
		}
	}
	if err := s.Volumes.CheckPool(req.Pool); err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Migrating instance",
		Resources:   map[string][]string{"instances": {url("", i.Name)}},
		Run: func(ctx context.Context, _ operation.Progress) error {
			return s.move(ctx, i.Project, i.Name, req.Name, req.Pool)
		},
	}, nil
}

// move moves a stopped instance to another pool, and then gives it its new name, if that is another one. Both names, and the volumes of
// both pools, are held until all of it is done: what could keep the second step from being done is seen before the first.
func (s *Service) move(ctx context.Context, project, name, newName, pool string) error {
	if row, ok := s.instances.Get(project, name); ok { // what an earlier move has left may be in the way of this one
		s.Journal.Settle(ctx, row.Value.UUID, func(string) bool { return false })
	}
	held, err := s.acquire(ctx, project, name, "move", lock.Short, lock.Exclusive(lock.ForInstance(project, newName)))
	if err != nil {
		return err
	}
	defer held.Release()
	row, runs, err := s.look(ctx, project, name)
	if err != nil {
		return err
	}
	there := row.Value.Pool == pool // by another move, maybe, that this one has waited for: what would go as the old volume is all there is
	switch {
	case there && newName == name:
		return api.BadRequest("Instance is on storage pool %q already", pool)
	case runs && there:
		return errRenameRunning()
	case runs:
		return api.BadRequest("Instance must be stopped to be moved between storage pools")
	}
	if there {
		if err := s.unsettled(project, name, "rename"); err != nil {
			return err
		}
	}
	if newName != name {
		if err := s.checkNewName(project, newName); err != nil {
			return err
		}
	}
	moved := row.Value.clone()
	moved.Pool = pool
	content, err := s.holdContent(ctx, "move", lock.Exclusive(row.Value.volume().Object()), lock.Exclusive(moved.volume().Object()),
		lock.Shared(lock.ForPool(row.Value.Pool)), lock.Shared(lock.ForPool(pool)))
	if err != nil {
		return err
	}
	defer content.Release()
	if !there {
		if err := s.movePool(ctx, row, pool); err != nil || newName == name {
			return err
		}
		if row, err = s.get(project, name); err != nil {
			return err
		}
	}
	return s.renameHeld(ctx, row.Value, newName)
}

// movePool copies the volumes of a stopped instance to another pool, and removes the old ones once the record says so. The instance and
// its volumes in both are held.
func (s *Service) movePool(ctx context.Context, row store.Row[Instance], pool string) (err error) {
	old := row.Value
	e := s.effectiveOf(old)
	next := old.clone()
	next.Pool = pool
	root := maps.Clone(e.Devices[e.Root])
	root["pool"] = pool
	next.Devices[e.Root] = root
	if _, err := s.check(ctx, next, next); err != nil {
		return err
	}
	snapshots := s.snapshots.List(old.Project, old.Name)
	had := s.volumesOf(old)
	kind, c := moveEntry(old, pool, s.volumesOf(next))
	entry, err := s.Journal.Begin(ctx, kind, c)
	if err != nil {
		return err
	}
	moved, forgotten := false, false // by its commit; and the old volumes' records with it
	finish := func(cause error) error {
		ctx, cancel := detached(ctx)
		defer cancel()
		remove, forget := s.removeMoveRest, s.forgetMoveRest
		if kind == kindMove {
			remove, forget = s.removeStale, s.forgetStale
		}
		err := remove(ctx, c)
		if err == nil && !forgotten {
			err = forget(ctx, c)
		}
		if err == nil {
			err = entry.Close(ctx)
		} else {
			entry.Leave(err)
		}
		if err != nil && moved {
			s.Log.Error("What is left of a move is removed later", "instance", old.Name, "project", old.Project, "err", err)
			return cause
		}
		return errors.Join(cause, err)
	}
	if err := moveBegun.Hit(); err != nil {
		return finish(err)
	}
	defer s.emptyVolume(old)
	s.emptyVolume(old)
	if err := s.Volumes.Copy(ctx, next.volume(), old.volume()); err != nil {
		return finish(err)
	}
	if err := s.limitCopy(ctx, next, next.volume()); err != nil {
		return finish(err)
	}
	var ops []store.Op
	for _, snap := range snapshots {
		n := snap.Path[2]
		if err := s.Volumes.Copy(ctx, next.snapshotOf(n, snap.Value), old.snapshotVolume(n)); err != nil {
			return finish(err)
		}
		ops = append(ops, s.Volumes.Record(next.snapshotVolume(n), old.snapshotVolume(n)))
	}
	if err := moveCopied.Hit(); err != nil {
		return finish(err)
	}
	ops = append(ops, s.Volumes.Record(next.volume(), old.volume()))
	after := movedEntry(c, had)
	last := []store.Op{s.instances.Replace(row, next), entry.Amend(after)}
	if len(snapshots) < maxTogether { // else they go when the move is finished
		for _, vol := range had {
			last = append(last, s.Volumes.Forget(vol))
		}
	}
	if _, err := s.Store.CommitAll(ctx, ops, last...); err != nil {
		return finish(err)
	}
	c, moved, forgotten = after, true, len(last) > 2
	if err := moveCommitted.Hit(); err != nil {
		return finish(err)
	}
	return finish(nil)
}

// recoverMove ends a move that was cut off: it removes the volumes of whichever pool the record does not name, and their
// records.
func (s *Service) recoverMove(ctx context.Context, c change) error {
	if err := s.removeStale(ctx, c); err != nil {
		return err
	}
	return s.forgetStale(ctx, c)
}

// stale is the instance in whichever of the two pools of a move its record does not name.
func stale(i *Instance, c change) *Instance {
	stale := i.clone()
	stale.Pool = c.NewPool
	if i.Pool == c.NewPool {
		stale.Pool = c.Pool
	}
	return stale
}

// removeStale sets the links right, and removes the volumes of the other pool.
func (s *Service) removeStale(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if !ok {
		return nil
	}
	if err := s.linkInstance(i); err != nil {
		return err
	}
	if err := s.linkSnapshots(i, len(s.snapshots.List(c.Project, c.Name)) > 0); err != nil {
		return err
	}
	remove := s.Volumes.Delete
	if i.Pool != c.NewPool {
		remove = s.Volumes.Undo
	}
	if err := remove(ctx, s.volumesOf(stale(i, c))...); err != nil && !api.IsNotFound(err) {
		return err
	}
	return nil
}

// forgetStale removes the records of the volumes of the other pool.
func (s *Service) forgetStale(ctx context.Context, c change) error {
	i, ok := s.current(c)
	if !ok {
		return nil
	}
	var ops []store.Op
	for _, vol := range s.volumesOf(stale(i, c)) {
		ops = append(ops, s.Volumes.Forget(vol))
	}
	_, err := s.Store.CommitAll(ctx, ops)
	return err
}

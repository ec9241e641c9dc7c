package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// swapPoints are the instants between the steps of a swap.
type swapPoints struct{ begun, staged, stopped, exchanged, committed *fault.Point }

func newSwapPoints(name string) *swapPoints {
	return &swapPoints{
		begun: fault.New(name + ".begun"), staged: fault.New(name + ".staged"), stopped: fault.New(name + ".stopped"),
		exchanged: fault.New(name + ".exchanged"), committed: fault.New(name + ".committed"),
	}
}

// swap gives an instance another content, and the configuration that goes with it. The new content is made beside the
// old one while the instance still runs; then the two change places in one step, and the old one is kept until all has
// gone well. So there is always a way back, with the instance running as it did.
type swap struct {
	i       *Instance
	kind    string // of the journal's entry
	points  *swapPoints
	fill    func(ctx context.Context, stage storage.VolumeID) error
	like    storage.VolumeID          // what the volume is listed as from then on
	next    func(*Instance) *Instance // the new record, from the one there is when it is written
	leave   func(context.Context)     // called once the instance is stopped, before its record changes; may be nil
	record  swapRecord
	entry   *journal.Entry
	listed  store.Op // how the volume is listed before
	nothing bool     // has been made, as a pool was not reached
	service *Service
}

// swapRecord is what the journal knows of a swap. Entries of earlier versions are read, too: what is committed is kept in them.
type swapRecord struct {
	Project string           `json:"project"`
	Name    string           `json:"name"`
	UUID    string           `json:"uuid"`
	Stage   storage.VolumeID `json:"stage"`
	// Mark stands in the new content, so that it is known wherever it is.
	Mark      string `json:"mark"`
	Running   bool   `json:"running,omitempty"` // before, and to run afterwards
	Paused    bool   `json:"paused,omitempty"`  // before, and to be again if all is to be as before
	Committed bool   `json:"kept,omitempty"`    // the record is the new one
}

// markFile is where a mark stands: beside the root file system, where no guest reaches.
const markFile = ".berth-staged"

// do carries the swap out; the instance is held, with what its devices name now and will name, and its volume.
func (c *swap) do(ctx context.Context) (err error) {
	s := c.service
	_, runs, err := s.look(ctx, c.i.Project, c.i.Name)
	if err != nil {
		return err
	}
	c.record = swapRecord{Project: c.i.Project, Name: c.i.Name, UUID: c.i.UUID, Running: runs, Mark: uuid.NewString()}
	c.record.Paused = s.Runtime.Status(c.i.id()) == api.Frozen
	c.record.Stage = c.i.volume()
	c.record.Stage.Name += ".stage-" + c.record.Mark // no instance has such a name
	c.listed = s.Volumes.Record(c.i.volume(), c.i.volume())
	if c.entry, err = s.Journal.Begin(ctx, c.kind, c.record); err != nil {
		return err
	}
	if err = c.prepare(ctx); err == nil {
		err = c.replace(ctx)
	}
	finishing, cancel := detached(ctx)
	defer cancel()
	if err == nil {
		err = c.start(finishing)
	}
	if err != nil {
		return c.back(finishing, err)
	}
	hit := c.points.committed.Hit()
	if undone := s.endSwap(finishing, &c.record); undone != nil || hit != nil {
		s.Log.Error("What is left of a change is done later", "instance", c.i.Name, "project", c.i.Project, "err", errors.Join(undone, hit))
		if undone != nil {
			c.leaveOld(finishing, undone)
			return nil
		}
	}
	return c.entry.Close(finishing)
}

// leaveOld leaves the entry of a swap of which only the old content is left: what becomes of the instance from now on is its users' business.
func (c *swap) leaveOld(ctx context.Context, cause error) {
	if c.record.Running {
		c.record.Running = false
		if _, err := c.service.Store.Commit(ctx, c.entry.Amend(c.record)); err != nil {
			c.service.Log.Error("What is left of a change says that the instance is to be started", "instance", c.i.Name, "project", c.i.Project, "err", err)
		}
	}
	c.entry.Leave(cause)
}

// prepare makes the new content beside the old one.
func (c *swap) prepare(ctx context.Context) error {
	if err := c.points.begun.Hit(); err != nil {
		return err
	}
	if err := c.fill(ctx, c.record.Stage); err != nil {
		c.nothing = api.IsUnavailable(err)
		return err
	}
	if err := c.service.limitCopy(ctx, c.next(c.i), c.record.Stage); err != nil {
		return err
	}
	if err := c.service.putMark(ctx, c.record.Stage, c.record.Mark); err != nil {
		return err
	}
	return c.points.staged.Hit()
}

// replace stops the instance, has the contents change places, and writes the record.
func (c *swap) replace(ctx context.Context) error {
	s := c.service
	if c.record.Running {
		if err := s.halt(ctx, c.i, true, 0, false); err != nil {
			return err
		}
		if s.running(c.i) {
			return fmt.Errorf("Failed to stop instance %q", c.i.Name)
		}
	}
	if err := c.points.stopped.Hit(); err != nil {
		return err
	}
	if c.leave != nil {
		c.leave(ctx)
	}
	defer s.emptyVolume(c.i)
	s.emptyVolume(c.i)
	if err := s.Volumes.Exchange(ctx, c.i.volume(), c.record.Stage); err != nil {
		return err
	}
	if err := c.points.exchanged.Hit(); err != nil {
		return err
	}
	committed := c.record
	committed.Committed = true
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := s.commitSwap(ctx, c, s.Volumes.Record(c.i.volume(), c.like), c.entry.Amend(committed)); err != nil {
		return err
	}
	c.record.Committed = true
	return nil
}

func (s *Service) commitSwap(ctx context.Context, c *swap, with ...store.Op) error {
	return s.modify(ctx, c.i.Project, c.i.Name, func(i *Instance) error {
		i.Body = c.next(i).Body
		return nil
	}, with...)
}

// start runs the instance again if it ran before.
func (c *swap) start(ctx context.Context) error {
	if !c.record.Running {
		return nil
	}
	row, err := c.service.get(c.i.Project, c.i.Name)
	if err != nil {
		return err
	}
	return c.service.startHeld(ctx, row.Value)
}

// pause pauses the instance as it was before.
func (c *swap) pause(ctx context.Context) error {
	if err := c.service.Runtime.Freeze(ctx, c.i.id()); err != nil {
		return fmt.Errorf("Failed to pause instance %q again: %w", c.i.Name, err)
	}
	c.service.publish(ctx, c.i.Project, "instance-paused", url(c.i.Project, c.i.Name), nil)
	return nil
}

// back undoes a swap that failed with cause, however far it has got.
func (c *swap) back(ctx context.Context, cause error) error {
	s := c.service
	if c.nothing {
		return errors.Join(cause, c.entry.Close(ctx))
	}
	if c.record.Committed {
		undone := c.record
		undone.Committed = false
		err := s.modify(ctx, c.i.Project, c.i.Name, func(i *Instance) error {
			i.Body = c.i.Body.clone()
			for name := range s.effectiveOf(c.i).Devices {
				dropHostVolatile(i.Config, name)
			}
			return nil
		}, c.listed, c.entry.Amend(undone))
		if err != nil {
			// All of the new is there, and it does not run.
			c.entry.Leave(err)
			return errors.Join(cause, fmt.Errorf("Failed to go back: %w", err))
		}
		c.record.Committed = false
	}
	if err := s.endSwap(ctx, &c.record); err != nil {
		c.entry.Leave(err)
		return errors.Join(cause, fmt.Errorf("Failed to go back: %w", err))
	}
	if c.record.Running && !s.running(c.i) {
		if err := c.start(ctx); err != nil {
			cause = errors.Join(cause, err, s.staysStopped(ctx, c.i.Project, c.i.Name))
		} else if c.record.Paused {
			cause = errors.Join(cause, c.pause(ctx))
		}
	}
	return errors.Join(cause, c.entry.Close(ctx))
}

// endSwap puts the content that belongs to the record in place and deletes the other one. It is idempotent.
func (s *Service) endSwap(ctx context.Context, record *swapRecord) error {
	volume := record.Stage
	volume.Name = record.Name
	there, err := s.hasMark(ctx, volume, record.Mark)
	if err != nil {
		return err
	}
	if there != record.Committed {
		staged, err := s.hasMark(ctx, record.Stage, record.Mark)
		if err != nil {
			return err
		}
		if there || staged { // else the stage has been ended already
			i := &Instance{Project: record.Project, Name: record.Name, UUID: record.UUID}
			if err := s.exchange(ctx, i, volume, record.Stage); err != nil {
				return err
			}
		}
	}
	if err := s.Volumes.Delete(ctx, record.Stage); err != nil {
		return err
	}
	return s.dropMark(ctx, volume, record.Mark)
}

// recoverSwap finishes or undoes a swap that was cut off. An instance that ran before is started, as soon as that is done, unless somebody has stopped
// it since: a swap leaves volatile.last_state.power as it is.
func (s *Service) recoverSwap(ctx context.Context, data json.RawMessage) error {
	var record swapRecord
	if err := json.Unmarshal(data, &record); err != nil {
		return fmt.Errorf("swap: %w", err)
	}
	row, ok := s.instances.Get(record.Project, record.Name)
	if !ok || row.Value.UUID != record.UUID {
		return s.Volumes.Delete(ctx, record.Stage) // the instance has gone meanwhile
	}
	start := record.Running && row.Value.Stopping == "" && row.Value.Config["volatile.last_state.power"] == powerRunning
	late := start && s.runs.revive(row.Value.identity(), false)
	if err := s.endSwap(ctx, &record); err != nil || !start {
		return err
	}
	s.runs.revive(row.Value.identity(), record.Paused && !record.Committed)
	if late {
		s.startLater(row.Value)
	}
	return nil
}

// inVolume opens the folder of a volume.
func (s *Service) inVolume(ctx context.Context, v storage.VolumeID, do func(*os.Root) error) error {
	release, err := s.Volumes.Mount(ctx, v)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(s.Volumes.Path(v))
	if err != nil {
		return errors.Join(err, release())
	}
	return errors.Join(do(root), root.Close(), release())
}

func (s *Service) putMark(ctx context.Context, v storage.VolumeID, mark string) error {
	return s.inVolume(ctx, v, func(root *os.Root) error {
		if err := root.Remove(markFile); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		f, err := root.OpenFile(markFile, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
		if err != nil {
			return err
		}
		_, err = io.WriteString(f, mark)
		return errors.Join(err, f.Close())
	})
}

// hasMark tells whether a volume is there and has a mark.
func (s *Service) hasMark(ctx context.Context, v storage.VolumeID, mark string) (bool, error) {
	found := false
	err := s.inVolume(ctx, v, func(root *os.Root) error {
		f, err := root.Open(markFile)
		if err != nil {
			return err
		}
		data, err := io.ReadAll(io.LimitReader(f, 64))
		found = string(data) == mark
		return errors.Join(err, f.Close())
	})
	if errors.Is(err, os.ErrNotExist) || api.IsNotFound(err) {
		err = nil
	}
	return found, err
}

func (s *Service) dropMark(ctx context.Context, v storage.VolumeID, mark string) error {
	has, err := s.hasMark(ctx, v, mark)
	if err != nil || !has {
		return err
	}
	return s.inVolume(ctx, v, func(root *os.Root) error { return root.Remove(markFile) })
}

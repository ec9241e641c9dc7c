package instance

import (
	"context"
	"errors"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/storage"
)

var copyStill = fault.New("instance.copy.still")

// holdStill freezes a running instance while its volume is copied, so that the copy is of one instant. The journal knows
// of it: a daemon that ends meanwhile must not leave an instance frozen that nobody has paused.
func (s *Service) holdStill(ctx context.Context, src *Instance, from storage.VolumeID) (release func(), err error) {
	if from.Snapshot != "" || s.Runtime.Status(src.id()) != api.Running {
		return func() {}, nil
	}
	entry, err := s.Journal.Begin(ctx, kindStill, change{Project: src.Project, Name: src.Name})
	if err != nil {
		return nil, err
	}
	over := false
	release = func() {
		if over {
			return
		}
		over = true
		ctx, cancel := detached(ctx)
		defer cancel()
		if err := errors.Join(s.resume(ctx, src.id()), entry.Close(ctx)); err != nil {
			s.Log.Error("resume after a copy", "instance", src.Name, "err", err)
		}
	}
	err = s.Runtime.Freeze(ctx, src.id())
	if err == nil {
		err = copyStill.Hit()
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

func (s *Service) resume(ctx context.Context, id string) error {
	if s.Runtime.Status(id) == api.Stopped {
		return nil // it has ended meanwhile
	}
	return s.Runtime.Thaw(ctx, id)
}

// undoStill resumes an instance that was frozen for a copy which was cut off.
func (s *Service) undoStill(ctx context.Context, c change) error {
	if _, err := s.Runtime.Find(ctx); err != nil { // recovery comes before running instances are adopted
		return err
	}
	return s.resume(ctx, c.instance().id())
}

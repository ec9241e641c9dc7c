package profile

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// Images is what profiles need of images, which name those that instances made of them are to have; *image.Service implements it.
type Images interface {
	// FollowProfile returns the ops that make images name another profile in the place of one, or, with "", none: of all projects that share the
	// profiles of home, any number, for store.CommitAll. One that is changed meanwhile makes them fail with store.ErrConflict.
	FollowProfile(home, old, name string) []store.Op
}

// SetImages is SetInstances for images, if there are any.
func (s *Service) SetImages(i Images) { s.images = i }

const kindDelete = "profile.delete"

var profileGone = fault.New("profile.delete.gone") // there is no profile any more, and images still name it

// deletion is the journal's record of one that images have to follow.
type deletion struct {
	Project string `json:"project"`
	Name    string `json:"name"`
}

// followed has all images name another profile, or none, in the place of one. The caller holds both: no image comes to name the old one meanwhile, but what
// else is changed of an image may come in between.
func (s *Service) followed(ctx context.Context, home, old, name string) error {
	for s.images != nil {
		ops := s.images.FollowProfile(home, old, name)
		if len(ops) == 0 {
			break
		}
		if _, err := s.store.CommitAll(ctx, ops); err != nil && (!errors.Is(err, store.ErrConflict) || ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

// remove removes a profile, and its name from the images that have it.
func (s *Service) remove(ctx context.Context, row store.Row[Profile]) error {
	home, name := row.Path[0], row.Path[1]
	gone := s.table.RemoveAt(row.Revision, home, name)
	if s.images == nil || len(s.images.FollowProfile(home, name, "")) == 0 {
		_, err := s.store.Commit(ctx, gone)
		return err
	}
	entry, err := s.journal.Begin(ctx, kindDelete, deletion{home, name}, gone)
	if err != nil {
		return err
	}
	if err := profileGone.Hit(); err != nil { // it is gone: this is no failure to delete it
		slog.WarnContext(ctx, "After a profile was deleted", "project", home, "profile", name, "err", err)
	}
	ctx = context.WithoutCancel(ctx)
	if err = s.followed(ctx, home, name, ""); err != nil {
		err = s.followed(ctx, home, name, "") // a disk that was full for a moment need not be waited for
	}
	if err == nil {
		err = entry.Close(ctx)
	}
	if err != nil { // the rest comes later
		slog.WarnContext(ctx, "Images still name a profile that is deleted", "project", home, "profile", name, "err", err)
		entry.Leave(err)
	}
	return nil
}

// holdDeleted holds what finishDelete works on.
func (s *Service) holdDeleted(ctx context.Context, data json.RawMessage) (release func(), err error) {
	var d deletion
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, err
	}
	held, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForProfile(d.Project, d.Name)))
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}

// finishDelete goes on with a deletion that was cut off, unless there is a profile of that name again, which the images then mean.
func (s *Service) finishDelete(ctx context.Context, data json.RawMessage) error {
	var d deletion
	if err := json.Unmarshal(data, &d); err != nil {
		return err
	}
	if _, there := s.table.Get(d.Project, d.Name); there {
		return nil
	}
	return s.followed(ctx, d.Project, d.Name, "")
}

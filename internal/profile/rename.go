package profile

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

const kindRename = "profile.rename"

// Instants of a rename.
var (
	renameBegun = fault.New("profile.rename.begun") // there are both profiles
	renameMoved = fault.New("profile.rename.moved") // nobody uses the old one any more
)

// undoTime is how long it may take to take a rename back that has failed, or whose caller has gone.
const undoTime = time.Minute

// renaming is the journal's record of a rename. Names alone could be another profile's by the time of a recovery: Old is the revision
// of the profile that is renamed, and ID is kept in the one that takes its place until the rename ends.
type renaming struct {
	Project string         `json:"project"`
	Name    string         `json:"name"`
	New     string         `json:"new"`
	Old     store.Revision `json:"old"`
	ID      string         `json:"id"`
}

// Rename renames a profile; the instances and images that name it follow, in as many commits as they take. In between there are both profiles,
// which say the same.
func (s *Service) Rename(ctx context.Context, project, name, newName string) error {
	if name == "default" {
		return api.Forbidden(`The "default" profile cannot be renamed`)
	}
	if err := checkName(newName); err != nil {
		return err
	}
	return patiently(ctx, func() error { return s.tryRename(ctx, project, name, newName) })
}

func (s *Service) tryRename(ctx context.Context, project, name, newName string) error {
	project, err := s.homeFor(ctx, project, access.CanEdit, name)
	if err != nil {
		return err
	}
	held, err := s.hold(ctx, "rename", lock.Exclusive(lock.ForProfile(project, name)), lock.Exclusive(lock.ForProfile(project, newName)))
	if err != nil {
		return err
	}
	defer held.Release()
	row, ok := s.table.Get(project, name)
	if !ok {
		return api.NotFound("Profile not found")
	}
	if _, taken := s.table.Get(project, newName); taken {
		return api.Conflict("Name %q already in use", newName)
	}
	release, err := s.instances.HoldUsers(held.Context(ctx), "rename", project, name)
	if err != nil {
		return err
	}
	defer release()
	if err := s.rename(ctx, row, newName); err != nil {
		return err
	}
	s.events.Lifecycle(ctx, project, "profile-renamed", url(project, newName), map[string]any{"old_name": name})
	return nil
}

func (s *Service) rename(ctx context.Context, row store.Row[Profile], name string) error {
	c := renaming{Project: row.Path[0], Name: row.Path[1], New: name, Old: row.Revision, ID: uuid.NewString()}
	next := *row.Value
	next.Renaming = c.ID
	entry, err := s.journal.Begin(ctx, kindRename, c, s.table.Create(&next, c.Project, c.New))
	if err != nil {
		return err
	}
	ops, back := s.instances.RenameProfile(c.Project, c.Name, c.New)
	err = renameBegun.Hit()
	if err == nil {
		err = s.moveUsers(ctx, c, ops, entry.Done())
	}
	if err == nil {
		return nil
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	uerr := s.followed(undo, c.Project, c.New, c.Name)
	if uerr == nil {
		_, uerr = s.store.CommitAll(undo, back(), s.table.Remove(c.Project, c.New), entry.Done())
	}
	return errors.Join(err, uerr)
}

// moveUsers carries all users over to the new profile, and ends with the old one.
func (s *Service) moveUsers(ctx context.Context, c renaming, ops []store.Op, last ...store.Op) error {
	if _, err := s.store.CommitAll(ctx, ops); err != nil {
		return err
	}
	if err := s.followed(ctx, c.Project, c.Name, c.New); err != nil {
		return err
	}
	if err := renameMoved.Hit(); err != nil {
		return err
	}
	return s.completeRename(ctx, c, append(last, s.table.RemoveAt(c.Old, c.Project, c.Name))...)
}

// completeRename makes the new profile one like all others.
func (s *Service) completeRename(ctx context.Context, c renaming, last ...store.Op) error {
	row, ok := s.table.Get(c.Project, c.New)
	if !ok || row.Value.Renaming != c.ID {
		return store.ErrConflict
	}
	next := *row.Value
	next.Renaming = ""
	_, err := s.store.Commit(ctx, append(last, s.table.Replace(row, &next))...)
	return err
}

// finishRename goes on with a rename that was cut off. Where one of the two profiles has been changed since, as after an undo that failed,
// each stays with those who use it.
func (s *Service) finishRename(ctx context.Context, data json.RawMessage) error {
	var c renaming
	if err := json.Unmarshal(data, &c); err != nil {
		return err
	}
	if row, ok := s.table.Get(c.Project, c.New); !ok || row.Value.Renaming != c.ID {
		return nil
	}
	if old, ok := s.table.Get(c.Project, c.Name); !ok || old.Revision != c.Old {
		return s.completeRename(ctx, c)
	}
	ops, _ := s.instances.RenameProfile(c.Project, c.Name, c.New)
	return s.moveUsers(ctx, c, ops)
}

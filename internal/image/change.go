package image

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// again does what commits over what it has read, once more whenever somebody else was quicker.
func again(ctx context.Context, change func() error) error {
	for {
		if err := change(); !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

// Update changes what edit changes of an image. As LXD has it, an expiry that is taken away keeps the old one, and profiles
// that are become "default". match sees the revision that is about to be replaced (ETag). Both may be called more than once, where somebody else is quicker.
func (s *Service) Update(ctx context.Context, project, name string, edit func(*api.ImagePut) error, match func(store.Revision) error) error {
	return again(ctx, func() error { return s.update(ctx, project, name, edit, match) })
}

func (s *Service) update(ctx context.Context, project, name string, edit func(*api.ImagePut) error, match func(store.Revision) error) error {
	row, err := s.findFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return err
	}
	if err := match(row.Revision); err != nil {
		return err
	}
	put := s.show(row, nil).ImagePut
	if err := edit(&put); err != nil {
		return err
	}
	if put.Profiles == nil {
		put.Profiles = []string{"default"}
	}
	if !slices.Equal(put.Profiles, row.Value.Profiles) {
		var release func()
		if ctx, release, err = s.holdProfiles(ctx, "update", project, put.Profiles); err != nil {
			return err
		}
		defer release()
	}
	next := *row.Value
	next.Public, next.AutoUpdate, next.Profiles = put.Public, put.AutoUpdate, put.Profiles
	next.Properties = map[string]string{}
	for key, value := range put.Properties {
		if value != "" { // how clients unset one
			next.Properties[key] = value
		}
	}
	if !put.ExpiresAt.IsZero() {
		next.ExpiresAt = put.ExpiresAt
	}
	if _, err := s.Store.Commit(ctx, s.images.Replace(row, &next)); err != nil {
		return err
	}
	s.Events.Lifecycle(ctx, row.Path[0], "image-updated", urlOf(row.Path...), nil)
	return nil
}

// Delete gives the task that removes an image from a project, with its aliases, and its files if no other project has it.
func (s *Service) Delete(ctx context.Context, project, name string) (*operation.Task, error) {
	row, err := s.findFor(ctx, project, name, access.CanDelete)
	if err != nil {
		return nil, err
	}
	url := urlOf(row.Path...)
	return &operation.Task{
		Description: "Deleting image",
		Resources:   map[string][]string{"images": {url}},
		Run: func(ctx context.Context, _ operation.Progress) error {
			if err := s.delete(ctx, row.Path[0], row.Path[1]); err != nil {
				return err
			}
			s.Events.Lifecycle(ctx, row.Path[0], "image-deleted", url, nil)
			return nil
		},
	}, nil
}

// delete first forgets the image, which cannot be undone half-way, and then removes what it left on the disk; a kill in
// between is finished by the journal.
func (s *Service) delete(ctx context.Context, project, fingerprint string) error {
	return s.deleteIf(ctx, project, fingerprint, func(store.Row[record]) bool { return true })
}

// deleteIf is delete for an image that is still to go once nobody else is at it; if it is not, it is not found.
func (s *Service) deleteIf(ctx context.Context, project, fingerprint string, still func(store.Row[record]) bool) error {
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	row, ok := s.images.Get(project, fingerprint)
	if !ok || !still(row) {
		return api.NotFound("%s", errNotFound)
	}
	left := row.Value.left(fingerprint) // its files stay what they are while it is held
	entry, err := s.forget(ctx, project, left)
	for errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
		entry, err = s.forget(ctx, project, left)
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := faultForgot.Hit(); err != nil {
		return err
	}
	err = s.dropFiles(ctx, left)
	switch {
	case api.IsUnavailable(err):
		slog.Warn("Pools keep copies of a deleted image until they are available", "fingerprint", fingerprint, "err", err)
		entry.Leave(err)
		return nil
	case err != nil:
		entry.Leave(err)
		return err
	}
	return entry.Close(ctx)
}

// forget removes an image's records, and its aliases as they are now: whoever has given one another name or another image in the
// meantime makes it fail with store.ErrConflict.
func (s *Service) forget(ctx context.Context, project string, left filesEntry) (*journal.Entry, error) {
	fingerprint := left.Fingerprint
	var aliases []store.Op
	for _, row := range s.aliases.List(project) {
		if row.Value.Target == fingerprint {
			aliases = append(aliases, s.aliases.RemoveAt(row.Revision, row.Path...))
		}
	}
	if len(aliases) > fewAliases { // a kill behind these leaves the image, to be deleted again
		if _, err := s.Store.CommitAll(ctx, aliases); err != nil {
			return nil, err
		}
		aliases = nil
	}
	ops := append(aliases, s.images.Remove(project, fingerprint), s.uses.Remove(project, fingerprint))
	return s.Journal.Begin(ctx, kindFiles, left, ops...)
}

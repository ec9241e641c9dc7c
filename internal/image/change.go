package image

import (
	"context"
	"errors"
	"log/slog"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// Update replaces what can be changed of an image. As LXD has it, an expiry that is not given keeps the old one, and profiles
// that are not given become "default".
func (s *Service) Update(ctx context.Context, project, name string, put api.ImagePut, guard store.Revision) error {
	row, err := s.findFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return err
	}
	if put.Profiles == nil {
		put.Profiles = []string{"default"}
	}
	if err := s.checkProfiles(ctx, project, put.Profiles); err != nil {
		return err
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
	if guard != 0 {
		row.Revision = guard
	}
	if _, err := s.Store.Commit(ctx, s.images.Replace(row, &next)); err != nil {
		return changed(err)
	}
	s.Events.Lifecycle(ctx, row.Path[0], "image-updated", urlOf(row.Path...), nil)
	return nil
}

// changed turns a lost race into the answer for a stale ETag.
func changed(err error) error {
	if errors.Is(err, store.ErrConflict) {
		return api.PreconditionFailed("Image was changed meanwhile: %w", err)
	}
	return err
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
	if row, ok := s.images.Get(project, fingerprint); !ok || !still(row) {
		return api.NotFound("%s", errNotFound)
	}
	entry, err := s.forget(ctx, project, fingerprint)
	for errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
		entry, err = s.forget(ctx, project, fingerprint)
	}
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if err := faultForgot.Hit(); err != nil {
		return err
	}
	err = s.dropFiles(ctx, fingerprint)
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
func (s *Service) forget(ctx context.Context, project, fingerprint string) (*journal.Entry, error) {
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
	return s.Journal.Begin(ctx, kindFiles, filesEntry{Fingerprint: fingerprint}, ops...)
}

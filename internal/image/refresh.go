package image

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Refresh gives the task that asks an image's source for a newer one. Images that came by upload have no source.
func (s *Service) Refresh(ctx context.Context, project, name string) (*operation.Task, error) {
	row, err := s.findFor(ctx, project, name, access.CanEdit)
	if err != nil {
		return nil, err
	}
	return &operation.Task{
		Description: "Refreshing image",
		Run: func(ctx context.Context, p operation.Progress) error {
			if row.Value.Source == nil {
				return api.BadRequest("Failed to update image %q in project %q: Image source not found", row.Path[1], row.Path[0])
			}
			return s.refresh(ctx, p, row, func(*record) bool { return true })
		},
	}, nil
}

// successor is an image that is about to take the place of another one.
type successor struct {
	project, old, fresh string
	record              *record // what its files and its source say; nil for one that the project has already
	wanted              func(old *record) bool
	left                filesEntry     // what the old image leaves
	from                store.Revision // of the old image that the record was written after; 0 as long as it has not been
}

// refresh asks an image's source what its alias names now, fetches that, and puts it in the old image's place. The download takes as long
// as it takes: what it is for is looked at again when it is there. wanted tells whether the image as it is then is still to be
// replaced.
func (s *Service) refresh(ctx context.Context, p operation.Progress, row store.Row[record], wanted func(*record) bool) error {
	src := api.ImagesPostSource{ImageSource: *row.Value.Source, Mode: "pull", Type: "image"}
	ctx = fetch.WithPolicy(ctx, policyOf(ctx, row))
	if err := s.checkSource(src); err != nil {
		return err
	}
	far, err := s.Remote.Describe(ctx, src)
	if err != nil {
		return err
	}
	next := &successor{project: row.Path[0], old: row.Path[1], fresh: far.Fingerprint, wanted: wanted}
	if next.fresh == next.old {
		p.Update(map[string]any{"fingerprint": next.fresh, "refreshed": false})
		return nil
	}
	if _, here := s.images.Get(next.project, next.fresh); here {
		err = s.succeed(ctx, next, nil)
	} else {
		err = s.fetchSuccessor(ctx, p, next, src, far, Request{Project: next.project, Source: row.Value.Source, place: row.Value.Size})
	}
	if err != nil {
		return err
	}
	p.Update(map[string]any{"fingerprint": next.fresh, "refreshed": true})
	return nil
}

// policyOf is where an image may be updated from: no further than whoever named its source could reach, nor than whoever asks for the update.
//
// Records of earlier daemons do not say. What administrators had fetched from servers of their own network is to go on, and that is in the default
// project; callers who are restricted have their images in others, where the strict policy costs at most that somebody has to refresh them by hand.
func policyOf(ctx context.Context, row store.Row[record]) fetch.Policy {
	asked := fetch.PolicyFrom(ctx)
	if named := row.Value.Policy; named != nil {
		return fetch.Policy{Private: asked.Private && named.Private}
	}
	if request.CallerFrom(ctx).Protocol == "" && row.Path[0] != api.ProjectDefault { // the daemon itself asks
		return fetch.Policy{}
	}
	return asked
}

func (s *Service) fetchSuccessor(ctx context.Context, p operation.Progress, next *successor, src api.ImagesPostSource, far *api.Image, q Request) error {
	r, q, err := s.download(ctx, p, src, far, q)
	if err != nil {
		return err
	}
	d, err := s.check(ctx, r, q)
	if err == nil {
		p.Update(map[string]any{"size": strconv.FormatInt(r.Size, 10)})
		next.record = newRecord(r, q, d)
		err = s.succeed(ctx, next, r)
	}
	if err != nil || next.record == nil { // it has not become an image
		return errors.Join(err, r.Discard(ctx))
	}
	s.Events.Lifecycle(ctx, next.project, "image-created", urlOf(next.project, next.fresh), map[string]any{"type": kindOf(d)})
	return nil
}

// succeed makes an image of what was received, unless the project has it already, and removes the old one.
func (s *Service) succeed(ctx context.Context, next *successor, r *Received) error {
	entry, err := s.exchange(ctx, next, r)
	if err != nil {
		return err
	}
	if err := faultForgot.Hit(); err != nil {
		return err
	}
	// The new image is free for use: the old one's files may have to wait for whoever uses them still.
	ctx = context.WithoutCancel(ctx)
	if err = s.dropOld(ctx, next.left); err == nil {
		err = entry.Close(ctx)
	}
	if err != nil {
		slog.Warn("A refreshed image leaves files for now", "fingerprint", next.old, "err", err)
		entry.Leave(err)
	}
	return nil
}

// exchange puts the new image's record in the old one's place. Both are held, so that nobody gives the old one another alias, or takes
// either away. The entry that it returns is for the old image's files.
func (s *Service) exchange(ctx context.Context, next *successor, r *Received) (entry *journal.Entry, err error) {
	release, err := s.hold(ctx, "refresh", lock.Exclusive(lock.ForImage(next.old)), lock.Exclusive(lock.ForImage(next.fresh)))
	if err != nil {
		return nil, err
	}
	defer release()
	old, err := s.replaced(next)
	if err != nil {
		return nil, err
	}
	if _, here := s.images.Get(next.project, next.fresh); here { // somebody else may have fetched it meanwhile
		next.record = nil
		return s.supersede(ctx, next, nil)
	}
	if r == nil { // it was here
		return nil, api.NotFound("%s", errNotFound)
	}
	admitted, err := r.room.Admit("image refresh", next.project, project.Contents{Images: r.Size - old.Value.Size})
	if err != nil {
		return nil, err
	}
	defer admitted()
	err = s.keep(ctx, r, next.record, func(done ...store.Op) (err error) {
		entry, err = s.supersede(ctx, next, done)
		return err
	})
	return entry, err
}

// replaced is the image that is to be replaced, as it is now.
func (s *Service) replaced(next *successor) (store.Row[record], error) {
	row, ok := s.images.Get(next.project, next.old)
	if !ok || !next.wanted(row.Value) {
		return row, api.NotFound("%s", errNotFound)
	}
	return row, nil
}

// supersede writes the new image's record, gives it the old one's aliases and forgets the old one, as they are at that instant: what anybody
// changes meanwhile makes it read all of it again.
func (s *Service) supersede(ctx context.Context, next *successor, done []store.Op) (*journal.Entry, error) {
	for {
		row, err := s.replaced(next)
		if err != nil {
			return nil, err
		}
		ops := append(s.inherit(next, row), done...)
		aliases := s.handOver(next)
		if len(aliases) <= fewAliases {
			ops = append(append(ops, aliases...), s.images.RemoveAt(row.Revision, row.Path...), s.uses.Remove(row.Path...))
			next.left = row.Value.left(next.old)
			entry, err := s.Journal.Begin(ctx, kindFiles, next.left, ops...)
			if errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
				continue
			}
			return entry, err
		}
		// As many as fit go with the new image, and the rest after it. A kill in between leaves both, for the next refresh.
		ops = append(append(ops, aliases[:fewAliases]...), s.images.Unchanged(row))
		_, err = s.Store.Commit(ctx, ops...)
		switch {
		case err == nil:
			done, next.from = nil, row.Revision
		case !errors.Is(err, store.ErrConflict) || ctx.Err() != nil:
			return nil, err
		}
	}
}

// inherit is the op that writes the new image's record, with what is not of its files as the old image has it; none where that is done.
func (s *Service) inherit(next *successor, old store.Row[record]) []store.Op {
	if next.record == nil || next.from == old.Revision {
		return nil
	}
	heir := *next.record
	heir.Public, heir.AutoUpdate, heir.Cached, heir.Profiles = old.Value.Public, old.Value.AutoUpdate, old.Value.Cached, old.Value.Profiles
	if old.Value.Policy != nil { // whoever had it refreshed may have been held to less
		heir.Policy = old.Value.Policy
	}
	if next.from != 0 {
		return []store.Op{s.images.Put(&heir, next.project, next.fresh)}
	}
	return []store.Op{s.images.Create(&heir, next.project, next.fresh)}
}

// handOver are the ops that give the new image the aliases of the old one.
func (s *Service) handOver(next *successor) (ops []store.Op) {
	for _, a := range s.aliases.List(next.project) {
		if a.Value.Target == next.old {
			ops = append(ops, s.aliases.Replace(a, &alias{Target: next.fresh, Description: a.Value.Description}))
		}
	}
	return ops
}

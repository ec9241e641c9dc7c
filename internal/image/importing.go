package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/date"
	"github.com/berthd/berth/internal/durable"
	"github.com/berthd/berth/internal/fetch"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/store"
)

// Request says what a new image is to be like, beside what its files say.
type Request struct {
	Project     string
	Fingerprint string // expected; empty accepts any
	Filename    string
	Public      bool
	AutoUpdate  bool
	Cached      bool
	Properties  map[string]string // over those of the metadata
	Profiles    []string          // nil is "default"
	Aliases     []api.ImageAlias
	ExpiresAt   time.Time // zero takes the metadata's
	Source      *api.ImageSource
	Policy      *fetch.Policy // of whoever named the source
	place       int64         // bytes of the image in whose place it comes
}

// Import gives the task that checks received files and makes an image of them. The files are gone after it, one way or the other.
func (s *Service) Import(r *Received, q Request) *operation.Task {
	return &operation.Task{
		Description: "Downloading image",
		Discard:     r.Discard,
		Run: func(ctx context.Context, p operation.Progress) error {
			return s.importReceived(ctx, p, r, q)
		},
	}
}

func (s *Service) importReceived(ctx context.Context, p operation.Progress, r *Received, q Request) error {
	d, err := s.check(ctx, r, q)
	if err == nil {
		p.Update(map[string]any{"fingerprint": r.Fingerprint, "size": strconv.FormatInt(r.Size, 10)})
		err = s.create(ctx, r, q, d)
	}
	if err != nil {
		return errors.Join(err, r.Discard(ctx))
	}
	home := s.Home(q.Project)
	s.Events.Lifecycle(ctx, home, "image-created", urlOf(home, r.Fingerprint), map[string]any{"type": kindOf(d)})
	return nil
}

func (s *Service) check(ctx context.Context, r *Received, q Request) (*description, error) {
	if q.Fingerprint != "" && q.Fingerprint != r.Fingerprint {
		return nil, api.BadRequest("fingerprints don't match, got %s expected %s", r.Fingerprint, q.Fingerprint)
	}
	if err := checkAliases(q.Aliases); err != nil {
		return nil, err
	}
	d, err := r.inspect(ctx)
	if err != nil {
		return nil, err
	}
	return d, s.checkProfiles(ctx, q.Project, q.Profiles) // once more when they are held
}

func kindOf(d *description) string {
	if d.vm {
		return TypeVM
	}
	return TypeContainer
}

// create makes an image of an upload. Before the commit nobody can see the image; a kill leaves a journal entry
// for the folder of the upload and one for the files.
func (s *Service) create(ctx context.Context, r *Received, q Request, d *description) error {
	if err := faultReceived.Hit(); err != nil {
		return err
	}
	ctx, letGo, err := s.Projects.Hold(ctx, "import", q.Project)
	if err != nil {
		return err
	}
	defer letGo()
	ctx, leave, err := s.holdProfiles(ctx, "import", q.Project, q.Profiles)
	if err != nil {
		return err
	}
	defer leave()
	project, err := s.homeOf(ctx, q)
	if err != nil {
		return err
	}
	rec := newRecord(r, q, d)
	release, err := s.hold(ctx, "import", lock.Exclusive(lock.ForImage(r.Fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	if _, ok := s.images.Get(project, r.Fingerprint); ok {
		return api.Conflict("Image with same fingerprint already exists")
	}
	admitted, err := r.room.Admit("image creation", project, contentsOf(r))
	if err != nil {
		return err
	}
	defer admitted()
	return s.keep(ctx, r, rec, func(done ...store.Op) error {
		return s.createRecord(ctx, project, q, r.Fingerprint, append(done, s.images.Create(rec, project, r.Fingerprint))...)
	})
}

// homeOf is the project that an image comes into. The cache takes what instances of all projects are made from, whoever makes them.
func (s *Service) homeOf(ctx context.Context, q Request) (string, error) {
	if q.Cached {
		return s.Home(q.Project), nil
	}
	return s.homeFor(ctx, access.Image, q.Project, access.CanCreateImages, "")
}

// keep puts the files of an upload in place, notes in the record that is to be theirs where they are, and has commit write what makes an image of them, with
// the ends of their journal entries. The caller holds the image.
func (s *Service) keep(ctx context.Context, r *Received, rec *record, commit func(done ...store.Op) error) error {
	name := s.nameFor(r)
	if name != r.Fingerprint {
		rec.Files = name
	}
	about := filesEntry{Fingerprint: r.Fingerprint, Files: name, Import: true, Before: s.present(name)}
	entry, err := s.Journal.Begin(ctx, kindFiles, about)
	if err != nil {
		return err
	}
	err = s.place(r, name)
	if err == nil {
		err = faultPlaced.Hit()
	}
	if err == nil {
		err = commit(entry.Done(), r.entry.Done())
	}
	if err != nil && !errors.Is(err, errAliases) {
		ctx = context.WithoutCancel(ctx)
		if undone := s.removeUnrecorded(ctx, about); undone != nil {
			entry.Leave(undone)
			return errors.Join(err, undone)
		}
		return errors.Join(err, entry.Close(ctx))
	}
	s.verified.note(name, s.paths(name)...)
	if err := faultCreated.Hit(); err != nil { // the image is there: this is no failure to make it
		slog.WarnContext(ctx, "After an image was made", "image", r.Fingerprint, "err", err)
	}
	return err
}

// present lists which of the files that go by a name there are, by their own names. Without a record of them they are what an earlier store knew, and
// are not removed for an import that fails.
func (s *Service) present(name string) (names []string) {
	for _, path := range s.paths(name) {
		if _, err := os.Lstat(path); err == nil {
			names = append(names, filepath.Base(path))
		}
	}
	return names
}

// place moves the files of an upload to where images are, and makes that last.
func (s *Service) place(r *Received, name string) error {
	paths := s.paths(name)
	moves := map[string]string{"meta": paths[0]}
	if r.Split {
		moves["rootfs"] = paths[1]
	}
	for from, to := range moves {
		if err := os.Rename(filepath.Join(r.dir, from), to); err != nil {
			return fmt.Errorf("place image: %w", err)
		}
	}
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("place image: %w", err)
	}
	return durable.Dir(s.Dir)
}

func newRecord(r *Received, q Request, d *description) *record {
	properties := cloneMap(d.metadata.Properties)
	for k, v := range q.Properties {
		properties[k] = v
	}
	profiles := q.Profiles
	if profiles == nil {
		profiles = []string{"default"}
	}
	filename := q.Filename
	if r.Filename != "" {
		filename = r.Filename
	}
	expires := q.ExpiresAt
	if expires.IsZero() {
		expires = time.Unix(d.metadata.ExpiryDate, 0)
	}
	return &record{
		Type: kindOf(d), Architecture: d.metadata.Architecture, Filename: filename, Size: r.Size, Split: r.Split, Shape: r.shape(),
		Public: q.Public, AutoUpdate: q.AutoUpdate, Cached: q.Cached, Properties: properties, Profiles: profiles, Source: q.Source, Policy: q.Policy,
		CreatedAt: time.Unix(d.metadata.CreationDate, 0).UTC(), ExpiresAt: date.UTC(expires), UploadedAt: time.Now().UTC(),
	}
}

// contentsOf is what an upload adds to a project.
func contentsOf(r *Received) project.Contents { return project.Contents{Images: r.Size} }

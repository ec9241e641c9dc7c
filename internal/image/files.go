package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/store"
)

// recoverFiles is the journal's handler for files under way: those of an image that no record names are removed.
func (s *Service) recoverFiles(ctx context.Context, data json.RawMessage) error {
	var entry filesEntry
	if err := json.Unmarshal(data, &entry); err != nil {
		return fmt.Errorf("journal entry: %w", err)
	}
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(entry.Fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	return s.removeUnrecorded(ctx, entry)
}

// removeUnrecorded removes what an import that came to nothing has put in place, or what a deletion has left.
func (s *Service) removeUnrecorded(ctx context.Context, entry filesEntry) error {
	if !entry.Import {
		return s.dropFiles(ctx, entry.Fingerprint)
	}
	if s.recorded(entry.Fingerprint) {
		return nil
	}
	return s.removeFiles(entry.Fingerprint, entry.Before)
}

// recorded tells whether any project has an image.
func (s *Service) recorded(fingerprint string) bool {
	return slices.ContainsFunc(s.images.List(), func(row store.Row[record]) bool { return row.Path[1] == fingerprint })
}

// files are the paths of an image's files, of which a unified image has the first alone.
func (s *Service) files(fingerprint string) []string {
	return []string{s.metaPath(fingerprint), s.rootfsPath(fingerprint)}
}

// removeFiles removes the files of an image but for those to keep, by their names.
func (s *Service) removeFiles(fingerprint string, keep []string) error {
	s.verified.forget(fingerprint)
	for _, path := range s.files(fingerprint) {
		if slices.Contains(keep, filepath.Base(path)) {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove image: %w", err)
		}
	}
	return faultRemoved.Hit()
}

// hold claims images for an action: exclusively while their files are put in place or taken away, shared so that they do
// not go meanwhile.
func (s *Service) hold(ctx context.Context, action string, wants ...lock.Want) (release func(), err error) {
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: action, Brief: true, Patience: lock.Long}, wants...)
	if err != nil {
		return nil, err
	}
	return held.Release, nil
}

// dropFiles removes the files of an image that no project has. The caller holds the image.
func (s *Service) dropFiles(ctx context.Context, fingerprint string) error {
	if s.recorded(fingerprint) {
		return nil
	}
	if err := s.removeFiles(fingerprint, nil); err != nil {
		return err
	}
	if s.OnDelete != nil {
		if err := s.OnDelete(ctx, fingerprint); err != nil {
			return fmt.Errorf("remove the pools' copies of image %s: %w", fingerprint, err)
		}
	}
	return nil
}

// dropOld is dropFiles for a caller that does not hold the image.
func (s *Service) dropOld(ctx context.Context, fingerprint string) error {
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	return s.dropFiles(ctx, fingerprint)
}

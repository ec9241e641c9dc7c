package image

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
)

// lateEvery is how often a deletion that waits for a pool is tried again.
const lateEvery = time.Minute

// late are the deletions of images that are done but for the copies in pools which could not be reached, by fingerprint. Their
// entries stay in the journal until then, so that the next start of the daemon knows of them too.
type late struct {
	mu   sync.Mutex
	list map[string][]*journal.Entry
}

func (l *late) add(fingerprint string, entries ...*journal.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list == nil {
		l.list = map[string][]*journal.Entry{}
	}
	l.list[fingerprint] = append(l.list[fingerprint], entries...)
}

func (l *late) take() map[string][]*journal.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.list
	l.list = nil
	return list
}

// dropLate tries the deletions again that wait for a pool.
func (s *Service) dropLate(ctx context.Context) {
	for fingerprint, entries := range s.late.take() {
		if err := s.finishLate(ctx, fingerprint, entries); err != nil {
			slog.Warn("Pools keep copies of a deleted image for now", "fingerprint", fingerprint, "err", err)
			s.late.add(fingerprint, entries...)
		}
	}
}

func (s *Service) finishLate(ctx context.Context, fingerprint string, entries []*journal.Entry) error {
	release, err := s.hold(ctx, "delete", lock.Exclusive(lock.ForImage(fingerprint)))
	if err != nil {
		return err
	}
	defer release()
	if err := s.dropFiles(ctx, fingerprint); err != nil { // nothing, if the image is there again
		return err
	}
	for _, entry := range entries {
		if err := entry.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

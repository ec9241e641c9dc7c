package storage

import (
	"context"
	"errors"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	storagedriver "github.com/berthd/berth/internal/driver/storage"
)

// answerTime is how long the disk or the server of a pool may take to answer to who is about to claim what others need, too.
const answerTime = 10 * time.Second

// Answers fails with api.Unavailable if a pool hangs: it cannot be mounted in time, or takes no change. A pool that fails at once answers, too.
func (s *Service) Answers(ctx context.Context, pool string) error {
	d, err := s.driver(ctx, pool)
	if s.mounting(pool) {
		return err
	}
	a, ok := d.(storagedriver.Answerer)
	if err != nil || !ok {
		return ctx.Err()
	}
	_, err = bounded.Do(ctx, &s.answers, pool, s.answerTime, func() (struct{}, error) { return struct{}{}, a.Answers() })
	if errors.Is(err, bounded.ErrHung) {
		return api.Unavailable("Storage pool %q %w", pool, err)
	}
	return ctx.Err()
}

package etcd

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/berthd/berth/internal/store"
)

// refusals are etcd's errors that say that a request changed nothing, and what each is to us.
var refusals = []struct{ etcd, ours error }{
	{rpctypes.ErrTooManyOps, store.ErrTooLarge},
	{rpctypes.ErrRequestTooLarge, store.ErrTooLarge},
	{rpctypes.ErrDuplicateKey, store.ErrDuplicateKey},
	{rpctypes.ErrLeaseNotFound, store.ErrNoLease},
	{rpctypes.ErrNoSpace, syscall.ENOSPC}, // etcd's own quota
	{rpctypes.ErrTooManyRequests, store.ErrUnavailable},
	{rpctypes.ErrCompacted, store.ErrTooOld},
	{rpctypes.ErrEmptyKey, errors.New("not a key")},
}

func refusal(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.etcd) {
			return fmt.Errorf("%w: %w", r.ours, err)
		}
	}
	return nil
}

// commitError says of a transaction that was sent and failed what is known of it: it was refused, or nothing.
func commitError(ctx context.Context, err error) error {
	if refused := refusal(err); refused != nil {
		return refused
	}
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnknownOutcome, err)
}

// failed says why something other than a commit failed.
func failed(ctx context.Context, what string, err error) error {
	if refused := refusal(err); refused != nil {
		return fmt.Errorf("%s: %w", what, refused)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	case errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrUnavailable):
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, store.ErrUnavailable, err)
}

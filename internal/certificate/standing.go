package certificate

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// RightsOf are the rights that the holder of a certificate has. One for metrics is not trusted with anything else, and one of a type that
// gives none with nothing.
func RightsOf(c api.Certificate) (trusted bool, rights access.Rights) {
	switch {
	case c.Type == "metrics" && c.Restricted:
		return false, access.MetricsOf(c.Projects)
	case c.Type == "metrics":
		return false, access.Metrics()
	case c.Type != "client":
		return false, access.Rights{}
	case c.Restricted:
		return true, access.Restricted(c.Fingerprint, c.Projects)
	}
	return true, access.Full()
}

// commit writes ops for the caller of ctx, by rights that they have until it is done: of two changes at once, the one that takes the other's rights
// from it stays. store.ErrConflict may be about the caller's own certificate, which is to be looked at again.
func (s *Service) commit(ctx context.Context, ops ...store.Op) error {
	own, guarded, err := s.standing(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(ops, func(op store.Op) bool { return op.Key == own.Key })
	switch {
	case !guarded:
	case at < 0:
		ops = append(slices.Clip(ops), own)
	case ops[at].Guard == nil || *ops[at].Guard != *own.Guard: // it was read at another time than the rights
		return store.ErrConflict
	}
	_, err = s.Store.Commit(ctx, ops...)
	return err
}

// standing is the guard on what gives a caller over TLS their rights; 403 if these are fewer now than those they came with.
func (s *Service) standing(ctx context.Context) (own store.Op, guarded bool, err error) {
	c := request.CallerFrom(ctx)
	if c.Protocol != "tls" || !c.Trusted {
		return store.Op{}, false, nil
	}
	row, there := s.table.Get(c.Username)
	switch {
	case !there && c.Listed:
		return store.Op{}, false, request.ErrNotAuthorized
	case !there: // an authority vouches for it, unless it comes to be in the store
		return s.table.Absent(c.Username), true, nil
	}
	if trusted, rights := RightsOf(*row.Value); !trusted || !rights.Cover(c.Rights) {
		return store.Op{}, false, request.ErrNotAuthorized
	}
	return s.table.Unchanged(row), true, nil
}

package certificate

import (
	"context"

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
	guards, err := s.Standing(ctx)
	if err == nil && s.Identities != nil {
		var more []store.Op
		more, err = s.Identities.Standing(ctx)
		guards = append(guards, more...)
	}
	if err == nil {
		ops, err = store.Guarded(ops, guards)
	}
	if err == nil {
		_, err = s.Store.Commit(ctx, ops...)
	}
	return err
}

// Standing is the guard on what gives a caller over TLS their rights by the trust store; 403 if these are fewer now than those they came with. Others
// have none.
func (s *Service) Standing(ctx context.Context) ([]store.Op, error) {
	c := request.CallerFrom(ctx)
	if c.Protocol != "tls" || !c.Trusted || c.ByGroups {
		return nil, nil
	}
	row, there := s.table.Get(c.Username)
	switch {
	case !there && c.Listed:
		return nil, request.ErrNotAuthorized
	case !there: // an authority vouches for it, unless it comes to be in the store
		return []store.Op{s.table.Absent(c.Username)}, nil
	}
	if trusted, rights := RightsOf(*row.Value); !trusted || !rights.Cover(c.Rights) {
		return nil, request.ErrNotAuthorized
	}
	return []store.Op{s.table.Unchanged(row)}, nil
}

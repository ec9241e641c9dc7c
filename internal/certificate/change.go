package certificate

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Update changes what edit changes of a certificate; check is told the present revision. Both may be called more than once, where somebody
// else is quicker.
func (s *Service) Update(ctx context.Context, prefix string, edit func(*api.CertificatePut) error, check func(store.Revision) error) error {
	for {
		err := s.update(ctx, prefix, edit, check)
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
	}
}

func (s *Service) update(ctx context.Context, prefix string, edit func(*api.CertificatePut) error, check func(store.Revision) error) error {
	row, err := s.find(ctx, prefix)
	if err != nil {
		return err
	}
	if err := check(row.Revision); err != nil {
		return err
	}
	next := clone(row.Value)
	if err := edit(&next.CertificatePut); err != nil {
		return err
	}
	next.Projects = tidy(next.Projects)
	if next.Type != row.Value.Type {
		return api.Forbidden("The certificate type cannot be changed")
	}
	if !mayEdit(ctx, row.Value.Fingerprint) && !sameButMaterial(row.Value, &next) {
		return api.Forbidden("Only the certificate can be changed")
	}
	ops, err := s.exchange(ctx, row, &next)
	if err != nil {
		return err
	}
	if !slices.Equal(next.Projects, row.Value.Projects) {
		release, err := s.holdProjects(ctx, next.Projects)
		if err != nil {
			return err
		}
		defer release()
	}
	switch err := s.commit(ctx, ops...); {
	case errors.Is(err, request.ErrNotAuthorized):
		return err
	case err != nil:
		return fmt.Errorf("update certificate: %w", err)
	}
	s.Events.Lifecycle(ctx, "", "certificate-updated", URL(next.Fingerprint), nil)
	return nil
}

// exchange completes next, which has new material or none, and makes the ops that put it in the place of row.
//
// Whoever renews their own brings no proof that the new one is theirs. One that is known already, from the store or by the authority, stays what it
// is, with the rights that it has; theirs goes all the same. They hear what they hear of any other one, and it costs them as much, so that nobody
// finds out by it which certificates there are.
func (s *Service) exchange(ctx context.Context, row store.Row[api.Certificate], next *api.Certificate) ([]store.Op, error) {
	if next.Certificate == "" {
		next.Certificate = row.Value.Certificate
	}
	if next.Certificate == row.Value.Certificate {
		return []store.Op{s.table.Replace(row, next)}, nil
	}
	cert, err := Parse(next.Certificate)
	if err != nil {
		return nil, err
	}
	next.Fingerprint, next.Certificate = Fingerprint(cert), encode(cert)
	if next.Fingerprint == row.Value.Fingerprint {
		return []store.Op{s.table.Replace(row, next)}, nil
	}
	if err := s.checkMaterial(cert); err != nil {
		return nil, err
	}
	if err := s.staysOut(row.Value); err != nil {
		return nil, err
	}
	gone := s.table.RemoveAt(row.Revision, row.Path...)
	other, there := s.table.Get(next.Fingerprint)
	switch own := !mayEdit(ctx, row.Value.Fingerprint); {
	case own && there:
		return []store.Op{gone, s.table.Unchanged(other)}, nil
	case own && (s.known(next.Fingerprint) || s.Vouches != nil && s.Vouches(cert)):
		return []store.Op{gone}, nil
	case s.known(next.Fingerprint):
		return nil, errThere
	}
	ops := []store.Op{s.table.Create(next, next.Fingerprint), gone}
	if s.Identities != nil {
		ops = append(ops, s.Identities.Missing(next.Fingerprint))
	}
	return ops, nil
}

// staysOut fails for a certificate that has fewer rights by being in the store than it would have without: an authority that is trusted would
// let it in with all of them, and its holder still has the key.
func (s *Service) staysOut(c *api.Certificate) error {
	if c.Type == "client" && !c.Restricted || s.Vouches == nil {
		return nil
	}
	cert, err := Parse(c.Certificate)
	if err != nil {
		return nil
	}
	return s.StaysOut(cert)
}

// StaysOut fails for a certificate that the authority would let in with all rights as soon as nothing restricts it.
func (s *Service) StaysOut(cert *x509.Certificate) error {
	if s.Vouches == nil || !s.Vouches(cert) || s.refuses(cert) != nil {
		return nil
	}
	return api.BadRequest("Without its entry the authority lets certificate %q in with full rights: revoke it in ca.crl first", Fingerprint(cert))
}

// Delete takes a certificate out of the trust store.
func (s *Service) Delete(ctx context.Context, prefix string) error {
	for {
		row, err := s.find(ctx, prefix)
		if err != nil {
			return err
		}
		if !request.CallerFrom(ctx).May(access.CanDelete, object(row.Value.Fingerprint)) {
			return request.ErrNotAuthorized
		}
		if err := s.staysOut(row.Value); err != nil {
			return err
		}
		err = s.commit(ctx, s.table.RemoveAt(row.Revision, row.Path...))
		if errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
			continue // it was changed, or is gone, or the caller's own was
		}
		if err != nil {
			return err
		}
		s.Events.Lifecycle(ctx, "", "certificate-deleted", URL(row.Value.Fingerprint), nil)
		return nil
	}
}

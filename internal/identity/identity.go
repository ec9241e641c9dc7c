package identity

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// identity is an identity as the store keeps it, under its method and identifier.
type identity struct {
	Name        string   `json:"name"`
	Type        string   `json:"type"`
	Groups      []string `json:"groups,omitempty"` // IDs
	Certificate string   `json:"certificate,omitempty"`
	// Token is the SHA-256 of the secret of the token that a pending identity waits for.
	Token     string    `json:"token,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of the token; zero: never
	// Issuer and Subject tell an identity of OpenID Connect from another that has its address later.
	Issuer  string `json:"issuer,omitempty"`
	Subject string `json:"subject,omitempty"`
}

func (i *identity) expired() bool { return !i.ExpiresAt.IsZero() && !time.Now().Before(i.ExpiresAt) }

func (s *Service) showIdentity(row store.Row[identity]) api.Identity {
	return api.Identity{
		AuthenticationMethod: row.Path[0], Type: row.Value.Type, Identifier: row.Path[1], Name: row.Value.Name,
		Groups: s.groupNames(row.Value.Groups), TLSCertificate: row.Value.Certificate,
	}
}

// Identities lists the identities that the caller may see, of a method or with "" of all, with the clients of the trust store.
func (s *Service) Identities(ctx context.Context, method string) []api.Identity {
	list := []api.Identity{}
	for _, row := range s.identities.List() {
		if (method == "" || method == row.Path[0]) && sees(ctx, access.Identity, row.Path[0]+"/"+row.Path[1]) {
			list = append(list, s.showIdentity(row))
		}
	}
	if method == "" || method == api.AuthTLS {
		for _, c := range s.Certificates.List(ctx, nil) {
			if sees(ctx, access.Identity, api.AuthTLS+"/"+c.Fingerprint) {
				list = append(list, ofCertificate(c))
			}
		}
	}
	slices.SortFunc(list, func(a, b api.Identity) int {
		return strings.Compare(a.AuthenticationMethod+"/"+a.Identifier, b.AuthenticationMethod+"/"+b.Identifier)
	})
	return list
}

// ofCertificate is a client of the trust store as an identity.
func ofCertificate(c api.Certificate) api.Identity {
	kind := api.IdentityClientUnrestricted
	switch {
	case c.Type == "metrics":
		kind = api.IdentityMetricsUnrestricted
	case c.Restricted:
		kind = api.IdentityClientRestricted
	}
	return api.Identity{
		AuthenticationMethod: api.AuthTLS, Type: kind, Identifier: c.Fingerprint, Name: c.Name, Groups: []string{}, TLSCertificate: c.Certificate,
	}
}

// Resolve finds the identifier that a caller means, who may name an identity by its name where only one has it. What is not found is taken for an
// identifier.
func (s *Service) Resolve(ctx context.Context, method, nameOrID string) string {
	if _, ok := s.identities.Get(method, nameOrID); ok {
		return nameOrID
	}
	found := nameOrID
	for _, i := range s.Identities(ctx, method) {
		if i.Name == nameOrID || i.Identifier == nameOrID {
			if found != nameOrID {
				return nameOrID // it is the name of several
			}
			found = i.Identifier
		}
	}
	return found
}

// Identity gives an identity and its revision; 0 for a client of the trust store.
func (s *Service) Identity(ctx context.Context, method, id string) (api.Identity, store.Revision, error) {
	if row, ok := s.identities.Get(method, id); ok {
		return s.showIdentity(row), row.Revision, nil
	}
	if c, ok := s.certificate(ctx, method, id); ok {
		return ofCertificate(c), 0, nil
	}
	return api.Identity{}, 0, errNoIdentity
}

func (s *Service) certificate(ctx context.Context, method, id string) (api.Certificate, bool) {
	if method == api.AuthTLS {
		for _, c := range s.Certificates.List(ctx, nil) {
			if c.Fingerprint == id {
				return c, true
			}
		}
	}
	return api.Certificate{}, false
}

// find is an identity whose rights come of groups; those of others are changed elsewhere.
func (s *Service) findIdentity(ctx context.Context, method, id string) (store.Row[identity], error) {
	row, ok := s.identities.Get(method, id)
	if ok {
		return row, nil
	}
	if _, ok := s.certificate(ctx, method, id); ok {
		return row, api.NotImplemented("The rights of identity %q do not come of groups: they are changed by /1.0/certificates/%s", id, id)
	}
	return row, errNoIdentity
}

// Update changes what edit changes of an identity, as UpdateGroup does. Whoever may not edit it may change the certificate, if it is their own.
func (s *Service) Update(ctx context.Context, method, id string, edit func(*api.IdentityPut) error, check func(store.Revision) error) error {
	return s.again(ctx, func() error {
		row, err := s.findIdentity(ctx, method, id)
		if err == nil {
			err = check(row.Revision)
		}
		if err != nil {
			return err
		}
		put := api.IdentityPut{Groups: s.groupNames(row.Value.Groups), TLSCertificate: row.Value.Certificate}
		before := slices.Clone(put.Groups)
		if err := edit(&put); err != nil {
			return err
		}
		slices.Sort(put.Groups)
		put.Groups = slices.Compact(put.Groups)
		if !slices.Equal(before, put.Groups) {
			if err := mayRegroup(ctx, identityObject(method, id), append(before, put.Groups...)); err != nil {
				return err
			}
		}
		next := *row.Value
		if next.Groups, err = s.groupIDs(put.Groups); err != nil {
			return err
		}
		return s.exchange(ctx, row, &next, put.TLSCertificate)
	})
}

// mayRegroup fails unless the caller may say in which groups an identity is, and sees all of those.
func mayRegroup(ctx context.Context, o access.Object, groups []string) error {
	if !request.CallerFrom(ctx).May(access.CanEdit, o) {
		return api.Forbidden("Only the certificate can be changed")
	}
	for _, name := range groups {
		if !sees(ctx, access.Group, name) {
			return request.ErrNotAuthorized
		}
	}
	return nil
}

// exchange writes an identity, with another certificate if it is given one.
func (s *Service) exchange(ctx context.Context, row store.Row[identity], next *identity, material string) error {
	method, id := row.Path[0], row.Path[1]
	if material == "" || material == row.Value.Certificate {
		return s.commit(ctx, "identity-updated", identityObject(method, id), s.identities.Replace(row, next))
	}
	if row.Value.Type != api.IdentityClient {
		return api.BadRequest("An identity of type %q has no certificate", row.Value.Type)
	}
	cert, fingerprint, err := s.material(material)
	if err != nil {
		return err
	}
	if fingerprint == id {
		return s.commit(ctx, "identity-updated", identityObject(method, id), s.identities.Replace(row, next))
	}
	if err := s.staysOut(row.Value); err != nil {
		return err
	}
	if s.Has(fingerprint) || s.Certificates.Has(fingerprint) {
		if request.CallerFrom(ctx).May(access.CanEdit, identityObject(method, id)) {
			return errThere
		}
		// As with certificates: they hear what they hear of any other one, theirs goes, and the one that they name stays what it is.
		if err := s.commit(ctx, "identity-deleted", identityObject(method, id), s.identities.RemoveAt(row.Revision, row.Path...)); err != nil {
			return err
		}
		s.logged(s.Gone(ctx, identityObject(method, id)))
		return nil
	}
	next.Certificate = encode(cert)
	err = s.commit(ctx, "identity-updated", identityObject(method, fingerprint),
		s.identities.RemoveAt(row.Revision, row.Path...), s.identities.Create(next, method, fingerprint), s.Certificates.Missing(fingerprint))
	if err != nil {
		return err
	}
	s.logged(s.Moved(ctx, identityObject(method, id), identityObject(method, fingerprint)))
	return nil
}

// Delete takes an identity away. One of OpenID Connect comes back, without groups, when its holder signs in again.
func (s *Service) Delete(ctx context.Context, method, id string) error {
	return s.again(ctx, func() error {
		row, err := s.findIdentity(ctx, method, id)
		if err == nil {
			err = s.staysOut(row.Value)
		}
		if err != nil {
			return err
		}
		if err := s.commit(ctx, "identity-deleted", identityObject(method, id), s.identities.RemoveAt(row.Revision, row.Path...)); err != nil {
			return err
		}
		s.logged(s.Gone(ctx, identityObject(method, id)))
		return nil
	})
}

package identity

import (
	"context"
	"crypto/x509"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Trusted tells what the holder of a certificate may do; ok is false if it is no identity's.
func (s *Service) Trusted(cert *x509.Certificate) (rights access.Rights, ok bool) {
	fingerprint := certificate.Fingerprint(cert)
	row, ok := s.identities.Get(api.AuthTLS, fingerprint)
	if !ok || row.Value.Type != api.IdentityClient || s.Certificates.Check(cert) != nil {
		return access.Rights{}, false
	}
	return s.rights(row, nil), true
}

// rights are what an identity may do by its groups and by those of the identity provider. Itself it may see and take away; what is its own of it, a
// certificate, it may renew.
func (s *Service) rights(row store.Row[identity], provided []string) access.Rights {
	grants := s.grants(s.effective(row.Value, provided))
	if slices.Contains(grants, access.Grant{Entitlement: access.Admin, Object: access.Object{Entity: access.Server}}) {
		return access.Full()
	}
	own := identityObject(row.Path[0], row.Path[1])
	for _, e := range []access.Entitlement{access.CanView, access.CanDelete, access.CanRenew} {
		grants = append(grants, access.Grant{Entitlement: e, Object: own})
	}
	var in []access.Object
	for _, name := range s.groupNames(s.effective(row.Value, provided)) {
		in = append(in, groupObject(name))
	}
	return access.FineGrained(grants...).Seeing(in...)
}

// effective are the IDs of all groups whose rights an identity has.
func (s *Service) effective(i *identity, provided []string) []string {
	ids := slices.Clone(i.Groups)
	for _, name := range provided {
		if row, ok := s.mappings.Get(name); ok {
			ids = append(ids, row.Value.Groups...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// grants are the rights that groups give.
func (s *Service) grants(ids []string) []access.Grant {
	var grants []access.Grant
	for _, id := range ids {
		row, ok := s.groups.Get(id)
		if !ok {
			continue
		}
		for _, p := range row.Value.Permissions {
			if s.holds(p) {
				grants = append(grants, access.Grant{Entitlement: access.Entitlement(p.Entitlement), Object: p.object()})
			}
		}
	}
	return grants
}

// Current is the identity of the caller, with what it may do.
func (s *Service) Current(ctx context.Context) (api.IdentityInfo, error) {
	caller := request.CallerFrom(ctx)
	row, ok := s.identities.Get(caller.Protocol, caller.Username)
	if !ok {
		if c, ok := s.certificate(ctx, caller.Protocol, caller.Username); ok {
			return api.IdentityInfo{Identity: ofCertificate(c), EffectiveGroups: []string{}, EffectivePermissions: []api.Permission{}}, nil
		}
		return api.IdentityInfo{}, api.BadRequest("Current identity information must be requested via the HTTPS API")
	}
	info := api.IdentityInfo{Identity: s.showIdentity(row), EffectivePermissions: []api.Permission{}, FineGrained: true}
	ids := s.effective(row.Value, caller.ProviderGroups)
	info.EffectiveGroups = s.groupNames(ids)
	for _, id := range ids {
		g, ok := s.groups.Get(id)
		if !ok {
			continue
		}
		for _, p := range s.shown(g) {
			if !slices.Contains(info.EffectivePermissions, p) {
				info.EffectivePermissions = append(info.EffectivePermissions, p)
			}
		}
	}
	return info, nil
}

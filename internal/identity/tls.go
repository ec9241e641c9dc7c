package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

var errThere = api.Conflict("The certificate is trusted already")

// CreateTLS makes an identity for a certificate.
func (s *Service) CreateTLS(ctx context.Context, req api.IdentitiesTLSPost) (id string, err error) {
	groups, err := s.checkNew(ctx, req)
	if err != nil {
		return "", err
	}
	if req.Token || req.TrustToken != "" {
		return "", api.BadRequest("Give either a certificate or a token")
	}
	cert, fingerprint, err := s.material(req.Certificate)
	if err != nil {
		return "", err
	}
	i := &identity{Name: req.Name, Type: api.IdentityClient, Groups: groups, Certificate: encode(cert)}
	return fingerprint, s.again(ctx, func() error {
		if s.Has(fingerprint) || s.Certificates.Has(fingerprint) {
			return errThere
		}
		return s.commit(ctx, "identity-created", identityObject(api.AuthTLS, fingerprint),
			s.identities.Create(i, api.AuthTLS, fingerprint), s.Certificates.Missing(fingerprint))
	})
}

// checkNew checks what is asked of a new identity. Nobody gives more rights than they have, or could give themselves.
func (s *Service) checkNew(ctx context.Context, req api.IdentitiesTLSPost) (groups []string, err error) {
	if err := checkName("identity", req.Name); err != nil {
		return nil, err
	}
	if groups, err = s.groupIDs(req.Groups); err != nil {
		return nil, err
	}
	return groups, s.mayGive(ctx, groups)
}

// mayGive fails unless the caller has all rights that groups give, or could have them, as they may change the groups.
func (s *Service) mayGive(ctx context.Context, ids []string) error {
	caller := request.CallerFrom(ctx)
	for _, id := range ids {
		row, ok := s.groups.Get(id)
		if ok && !caller.Unbound() && !caller.May(access.CanEdit, groupObject(row.Value.Name)) && !caller.Rights.Cover(access.Of(s.grants([]string{id})...)) {
			return request.ErrNotAuthorized
		}
	}
	return nil
}

// secretBytes is how long the secret of a token is.
const secretBytes = 32

// IssueToken makes an identity that waits for whoever shows the token, once.
func (s *Service) IssueToken(ctx context.Context, req api.IdentitiesTLSPost) (api.CertificateAddToken, error) {
	groups, err := s.checkNew(ctx, req)
	if err != nil {
		return api.CertificateAddToken{}, err
	}
	addresses := s.Tokens.Addresses()
	switch {
	case req.Certificate != "" || req.TrustToken != "":
		return api.CertificateAddToken{}, api.BadRequest("Give either a certificate or a token")
	case len(addresses) == 0:
		return api.CertificateAddToken{}, api.BadRequest("Can't issue token when server isn't listening on network")
	}
	secret := make([]byte, secretBytes)
	if _, err := rand.Read(secret); err != nil {
		return api.CertificateAddToken{}, err
	}
	token := api.CertificateAddToken{
		ClientName: req.Name, Fingerprint: s.Tokens.Fingerprint, Addresses: addresses, Secret: hex.EncodeToString(secret),
		ExpiresAt: s.Tokens.Expires(time.Now().UTC()), Type: api.IdentityClient,
	}
	i := &identity{Name: req.Name, Type: api.IdentityClientPending, Groups: groups, Token: hash(token.Secret), ExpiresAt: token.ExpiresAt}
	id := uuid.NewString()
	return token, s.commit(ctx, "identity-created", identityObject(api.AuthTLS, id), s.identities.Create(i, api.AuthTLS, id))
}

// Redeem makes the certificate that a caller has shown that of the identity which waits for a token. Of several who come with one, one gets in.
func (s *Service) Redeem(ctx context.Context, text string, shown *x509.Certificate) (id string, err error) {
	token, err := api.ParseCertificateAddToken(text)
	if err != nil || shown == nil || s.Certificates.Check(shown) != nil {
		return "", request.ErrNotAuthorized
	}
	fingerprint := certificate.Fingerprint(shown)
	err = s.again(ctx, func() error {
		row, ok := s.waiting(hash(token.Secret))
		if !ok || row.Value.expired() {
			return request.ErrNotAuthorized
		}
		if s.Has(fingerprint) || s.Certificates.Has(fingerprint) {
			return errThere
		}
		next := &identity{Name: row.Value.Name, Type: api.IdentityClient, Groups: row.Value.Groups, Certificate: encode(shown)}
		err := s.commit(ctx, "identity-updated", identityObject(api.AuthTLS, fingerprint),
			s.identities.RemoveAt(row.Revision, row.Path...), s.identities.Create(next, api.AuthTLS, fingerprint), s.Certificates.Missing(fingerprint))
		if err != nil {
			return err
		}
		s.logged(s.Moved(ctx, identityObject(api.AuthTLS, row.Path[1]), identityObject(api.AuthTLS, fingerprint)))
		return nil
	})
	return fingerprint, err
}

// waiting is the identity that waits for a token.
func (s *Service) waiting(token string) (store.Row[identity], bool) {
	for _, row := range s.identities.List(api.AuthTLS) {
		if row.Value.Token == token {
			return row, true
		}
	}
	return store.Row[identity]{}, false
}

// Has tells whether a certificate is an identity's.
func (s *Service) Has(fingerprint string) bool {
	_, ok := s.identities.Get(api.AuthTLS, fingerprint)
	return ok
}

// Missing holds for a commit while a certificate is no identity's.
func (s *Service) Missing(fingerprint string) store.Op {
	return s.identities.Absent(api.AuthTLS, fingerprint)
}

// material reads a certificate with which somebody could get in.
func (s *Service) material(text string) (*x509.Certificate, string, error) {
	cert, err := certificate.Parse(text)
	if err == nil {
		err = s.Certificates.Check(cert)
	}
	if err != nil {
		return nil, "", err
	}
	return cert, certificate.Fingerprint(cert), nil
}

// staysOut fails for an identity whose certificate would have more rights without it.
func (s *Service) staysOut(i *identity) error {
	if i.Certificate == "" {
		return nil
	}
	cert, err := certificate.Parse(i.Certificate)
	if err != nil {
		return nil //nolint:nilerr // it lets nobody in
	}
	return s.Certificates.StaysOut(cert)
}

func encode(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

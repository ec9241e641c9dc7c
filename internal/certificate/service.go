// Package certificate keeps the trust store: the client certificates that may use the API over the network.
package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// Service is the trust store.
type Service struct {
	store    *store.Store
	table    *store.Table[api.Certificate]
	events   event.Publisher
	password func(string) bool
	limiter  *limiter
}

// New makes the service; it owns the table "certificates". password tells whether a trust password is right.
func New(s *store.Store, events event.Publisher, password func(string) bool) *Service {
	return &Service{store: s, table: store.NewTable[api.Certificate](s, "certificates"), events: events, password: password, limiter: newLimiter()}
}

// URL is where the API shows a certificate.
func URL(fingerprint string) string { return "/1.0/certificates/" + fingerprint }

// List returns the certificates that pass f, by fingerprint.
func (s *Service) List(f *filter.Clauses) []api.Certificate {
	list := []api.Certificate{}
	for _, row := range s.table.List() {
		if f.Empty() || f.Match(row.Value) {
			list = append(list, *row.Value)
		}
	}
	return list
}

// Get finds a certificate by its fingerprint or a prefix that only it has.
func (s *Service) Get(prefix string) (api.Certificate, store.Revision, error) {
	row, err := s.find(prefix)
	if err != nil {
		return api.Certificate{}, 0, err
	}
	return *row.Value, row.Revision, nil
}

func (s *Service) find(prefix string) (store.Row[api.Certificate], error) {
	if row, ok := s.table.Get(prefix); ok {
		return row, nil
	}
	var found []store.Row[api.Certificate]
	if prefix != "" {
		for _, row := range s.table.List() {
			if strings.HasPrefix(row.Value.Fingerprint, prefix) {
				found = append(found, row)
			}
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return store.Row[api.Certificate]{}, api.NotFound("Certificate not found")
	}
	return store.Row[api.Certificate]{}, api.BadRequest("More than one certificate matches")
}

// Trusted finds the certificate that a client has shown; ok is false if it is not in the store or outside its time. What its holder may do
// follows from its type, "client" or "metrics", and its projects.
func (s *Service) Trusted(cert *x509.Certificate) (api.Certificate, bool) {
	now := time.Now()
	if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return api.Certificate{}, false
	}
	row, ok := s.table.Get(Fingerprint(cert))
	if !ok {
		return api.Certificate{}, false
	}
	return *row.Value, true
}

// Fingerprint is the SHA-256 of a certificate's DER form, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Add trusts a certificate: the one in req, or else shown, which is the caller's own. A caller who is not trusted must
// know the trust password and can add only its own.
func (s *Service) Add(ctx context.Context, req api.CertificatesPost, shown *x509.Certificate) (string, error) {
	caller := request.CallerFrom(ctx)
	if req.Token {
		return "", api.NotImplemented("Certificate tokens are not supported by this server")
	}
	if !caller.Trusted {
		if err := s.allow(ctx, caller, req); err != nil {
			return "", err
		}
		req.Certificate, req.Restricted, req.Projects = "", false, nil
	}
	if caller.Trusted && req.Certificate == "" {
		return "", api.BadRequest("Client is already trusted")
	}
	if req.Type != "client" && req.Type != "metrics" {
		return "", api.BadRequest("Unknown request type %s", req.Type)
	}
	cert := shown
	if req.Certificate != "" {
		var err error
		if cert, err = parse(req.Certificate); err != nil {
			return "", err
		}
	}
	if cert == nil {
		return "", api.BadRequest("No client certificate provided")
	}
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return "", api.BadRequest("The provided certificate isn't valid at this time")
	}
	return s.insert(ctx, req, cert)
}

// allow checks the trust password. Whoever guesses is made to wait, the longer the more often it was wrong.
func (s *Service) allow(ctx context.Context, caller request.Caller, req api.CertificatesPost) error {
	release, err := s.limiter.enter(ctx, caller.Address)
	if err != nil {
		return err
	}
	right := s.password(req.Password)
	release(right)
	if !right {
		return api.Forbidden("not authorized")
	}
	return nil
}

func (s *Service) insert(ctx context.Context, req api.CertificatesPost, cert *x509.Certificate) (string, error) {
	c := api.Certificate{CertificatePut: req.CertificatePut, Fingerprint: Fingerprint(cert)}
	c.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	if c.Name == "" {
		c.Name = cert.Subject.CommonName
	}
	if c.Projects == nil {
		c.Projects = []string{}
	}
	if _, ok := s.table.Get(c.Fingerprint); ok {
		return "", api.Conflict("Certificate already in trust store")
	}
	_, err := s.store.Commit(ctx, s.table.Create(&c, c.Fingerprint))
	if errors.Is(err, store.ErrConflict) {
		return "", api.Conflict("Certificate already in trust store")
	}
	if err != nil {
		return "", err
	}
	s.events.Lifecycle(ctx, "", "certificate-created", URL(c.Fingerprint), nil)
	return c.Fingerprint, nil
}

// parse reads a certificate in PEM, or in the base64 of DER that the API also takes.
func parse(text string) (*x509.Certificate, error) {
	var der []byte
	if block, _ := pem.Decode([]byte(text)); block != nil {
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, api.BadRequest("Invalid certificate material: %w", err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, api.BadRequest("Invalid certificate material: %w", err)
	}
	return cert, nil
}

// Update changes name, restriction, projects or the certificate itself; check is told the present revision.
func (s *Service) Update(ctx context.Context, prefix string, put api.CertificatePut, check func(store.Revision) error) error {
	row, err := s.find(prefix)
	if err != nil {
		return err
	}
	if err := check(row.Revision); err != nil {
		return err
	}
	if put.Type != row.Value.Type {
		return api.Forbidden("The certificate type cannot be changed")
	}
	next := *row.Value
	next.Name, next.Restricted, next.Projects = put.Name, put.Restricted, slices.Clone(put.Projects)
	if next.Projects == nil {
		next.Projects = []string{}
	}
	ops := []store.Op{}
	if put.Certificate != "" && put.Certificate != row.Value.Certificate {
		cert, err := parse(put.Certificate)
		if err != nil {
			return err
		}
		next.Fingerprint = Fingerprint(cert)
		next.Certificate = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
	}
	if next.Fingerprint == row.Value.Fingerprint {
		ops = append(ops, s.table.Replace(row, &next))
	} else {
		if _, ok := s.table.Get(next.Fingerprint); ok {
			return api.Conflict("Certificate already in trust store")
		}
		ops = append(ops, s.table.Create(&next, next.Fingerprint), s.table.RemoveAt(row.Revision, row.Path...))
	}
	if _, err := s.store.Commit(ctx, ops...); err != nil {
		return fmt.Errorf("update certificate: %w", err)
	}
	s.events.Lifecycle(ctx, "", "certificate-updated", URL(next.Fingerprint), nil)
	return nil
}

// Delete takes a certificate out of the trust store.
func (s *Service) Delete(ctx context.Context, prefix string) error {
	row, err := s.find(prefix)
	if err != nil {
		return err
	}
	if _, err := s.store.Commit(ctx, s.table.Remove(row.Path...)); err != nil {
		return err
	}
	s.events.Lifecycle(ctx, "", "certificate-deleted", URL(row.Value.Fingerprint), nil)
	return nil
}

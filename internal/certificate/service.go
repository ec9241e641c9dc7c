// Package certificate keeps the trust store: the client certificates that may use the API over the network, and the tokens by which clients
// get in.
package certificate

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// ProjectHolder keeps projects from going or being renamed; *project.Service implements it.
type ProjectHolder interface {
	// HoldAll holds projects until the release (api.NotFound).
	HoldAll(ctx context.Context, action string, names []string) (release func(), err error)
}

// Deps are the parts that the service is made of.
type Deps struct {
	Store    *store.Store
	Events   event.Publisher
	Projects ProjectHolder
	// Password tells whether a trust password is right.
	Password func(string) bool
	// Refuses tells why the server's authority (PKI mode) does not let a certificate in, whether it is trusted or not.
	Refuses func(*x509.Certificate) error
	// Vouches tells whether a certificate that is not in the store would be let in, with full rights.
	Vouches func(*x509.Certificate) bool
	Tokens  TokenDeps
	// Changed, if set, is called when the store has changed, whoever changed it. It must be quick.
	Changed func()
	// Identities are the clients whose rights come of groups; nil: none.
	Identities Identities
}

// Identities is another place where certificates are trusted; *identity.Service implements it.
type Identities interface {
	Has(fingerprint string) bool
	// Missing holds for a commit while a certificate is not there.
	Missing(fingerprint string) store.Op
	// Standing is Service.Standing for callers whose rights come of groups.
	Standing(ctx context.Context) ([]store.Op, error)
}

// Service is the trust store.
type Service struct {
	Deps
	table   *store.Table[api.Certificate]
	tokens  *store.Table[tokenRecord]
	limiter *limiter
}

// New makes the service; it owns the tables "certificates" and "certificate-tokens".
func New(d Deps) *Service {
	table := store.NewTable[api.Certificate](d.Store, "certificates")
	if d.Changed != nil {
		table.OnChange(d.Changed)
	}
	return &Service{
		Deps: d, limiter: newLimiter(),
		table: table, tokens: store.NewTable[tokenRecord](d.Store, "certificate-tokens"),
	}
}

// URL is where the API shows a certificate.
func URL(fingerprint string) string { return "/1.0/certificates/" + fingerprint }

// List returns the certificates that pass f and that the caller may see, by fingerprint.
func (s *Service) List(ctx context.Context, f *filter.Clauses) []api.Certificate {
	list := []api.Certificate{}
	sees := maySee(ctx)
	for _, row := range s.table.List() {
		if sees(row.Value.Fingerprint) && (f.Empty() || f.Match(row.Value)) {
			list = append(list, clone(row.Value))
		}
	}
	return list
}

// Get finds a certificate by its fingerprint or a prefix that only it has, of those that the caller may see.
func (s *Service) Get(ctx context.Context, prefix string) (api.Certificate, store.Revision, error) {
	row, err := s.find(ctx, prefix)
	if err != nil {
		return api.Certificate{}, 0, err
	}
	return clone(row.Value), row.Revision, nil
}

// find is Get. To whoever may not see a certificate it is not there, also where a prefix would be another's too.
func (s *Service) find(ctx context.Context, prefix string) (store.Row[api.Certificate], error) {
	sees := maySee(ctx)
	if row, ok := s.table.Get(prefix); ok && sees(row.Value.Fingerprint) {
		return row, nil
	}
	var found []store.Row[api.Certificate]
	if prefix != "" {
		for _, row := range s.table.List() {
			if strings.HasPrefix(row.Value.Fingerprint, prefix) && sees(row.Value.Fingerprint) {
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
	if checkTime(cert) != nil {
		return api.Certificate{}, false
	}
	row, ok := s.table.Get(Fingerprint(cert))
	if !ok {
		return api.Certificate{}, false
	}
	return *row.Value, true
}

// Add trusts a certificate: the one in req, or else shown, which is the caller's own. A caller who is not trusted must
// have a token or know the trust password, and can add only its own.
func (s *Service) Add(ctx context.Context, req api.CertificatesPost, shown *x509.Certificate) (string, error) {
	caller := request.CallerFrom(ctx)
	switch {
	case !caller.Trusted && caller.Protocol != "":
		return s.join(ctx, caller, req, shown)
	case req.Certificate == "":
		return "", api.BadRequest("Client is already trusted")
	case !mayAdd(caller):
		return "", request.ErrNotAuthorized
	}
	if err := mayGive(caller, req.CertificatePut); err != nil {
		return "", err
	}
	cert, err := Parse(req.Certificate)
	if err != nil {
		return "", err
	}
	return s.add(ctx, req.CertificatePut, cert)
}

// join lets a caller in who is not trusted yet. Of what the request says of the certificate only the name and the type count.
func (s *Service) join(ctx context.Context, caller request.Caller, req api.CertificatesPost, shown *x509.Certificate) (string, error) {
	if shown != nil && s.refuses(shown) != nil {
		return "", request.ErrNotAuthorized // nothing would come of it: the authority keeps it out
	}
	if token, err := api.ParseCertificateAddToken(req.Password); err == nil {
		return s.redeem(ctx, token, shown)
	}
	if err := s.allow(ctx, caller, req); err != nil {
		return "", err
	}
	return s.add(ctx, api.CertificatePut{Name: req.Name, Type: req.Type}, shown)
}

// allow checks the trust password. Whoever guesses is made to wait, the longer the more often it was wrong.
func (s *Service) allow(ctx context.Context, caller request.Caller, req api.CertificatesPost) error {
	release, err := s.limiter.enter(ctx, caller.Address)
	if err != nil {
		return err
	}
	right := s.Password(req.Password)
	release(right)
	if !right {
		return request.ErrNotAuthorized
	}
	return nil
}

// add checks a certificate and what is said of it, and keeps both in one commit with more.
func (s *Service) add(ctx context.Context, put api.CertificatePut, cert *x509.Certificate, more ...store.Op) (string, error) {
	if err := checkType(put.Type); err != nil {
		return "", err
	}
	if cert == nil {
		return "", api.BadRequest("No client certificate provided")
	}
	if err := s.checkMaterial(cert); err != nil {
		return "", err
	}
	release, err := s.holdProjects(ctx, put.Projects)
	if err != nil {
		return "", err
	}
	defer release()
	c := api.Certificate{CertificatePut: put, Fingerprint: Fingerprint(cert)}
	c.Certificate, c.Projects = encode(cert), tidy(put.Projects)
	if c.Name == "" {
		c.Name = cert.Subject.CommonName
	}
	if s.known(c.Fingerprint) {
		return "", errThere
	}
	if err := s.insert(ctx, &c, more); err != nil {
		return "", err
	}
	s.Events.Lifecycle(ctx, "", "certificate-created", URL(c.Fingerprint), nil)
	return c.Fingerprint, nil
}

// insert keeps a certificate that is not there yet. With more to commit, store.ErrConflict is about that.
func (s *Service) insert(ctx context.Context, c *api.Certificate, more []store.Op) error {
	ops := append(slices.Clip(more), s.table.Create(c, c.Fingerprint))
	if s.Identities != nil {
		ops = append(ops, s.Identities.Missing(c.Fingerprint))
	}
	for {
		err := s.commit(ctx, ops...)
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
		if s.known(c.Fingerprint) {
			return errThere
		}
		if len(more) > 0 || ctx.Err() != nil {
			return err
		}
	}
}

var errThere = api.Conflict("Certificate already in trust store")

func checkType(kind string) error {
	if kind != "client" && kind != "metrics" {
		return api.BadRequest("Invalid certificate type %q: client and metrics are allowed", kind)
	}
	return nil
}

// known tells whether a certificate is trusted already.
func (s *Service) known(fingerprint string) bool {
	_, ok := s.table.Get(fingerprint)
	return ok || s.Identities != nil && s.Identities.Has(fingerprint)
}

// Has tells whether a certificate is in the store.
func (s *Service) Has(fingerprint string) bool {
	_, ok := s.table.Get(fingerprint)
	return ok
}

// Missing holds for a commit while a certificate is not in the store.
func (s *Service) Missing(fingerprint string) store.Op { return s.table.Absent(fingerprint) }

// Check refuses a certificate with which nobody could get in.
func (s *Service) Check(cert *x509.Certificate) error { return s.checkMaterial(cert) }

// checkMaterial refuses a certificate with which nobody could get in.
func (s *Service) checkMaterial(cert *x509.Certificate) error {
	if err := checkTime(cert); err != nil {
		return err
	}
	if err := s.refuses(cert); err != nil {
		return api.BadRequest("The provided certificate cannot be used: %w", err)
	}
	return nil
}

func (s *Service) refuses(cert *x509.Certificate) error {
	if s.Refuses == nil {
		return nil
	}
	return s.Refuses(cert)
}

func checkTime(cert *x509.Certificate) error {
	if now := time.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
		return api.BadRequest("The provided certificate isn't valid at this time")
	}
	return nil
}

func encode(cert *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// clone shares nothing with c, which is the store's.
func clone(c *api.Certificate) api.Certificate {
	copied := *c
	copied.Projects = tidy(c.Projects)
	return copied
}

package certificate

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// TokenDeps are what tokens need of the server.
type TokenDeps struct {
	// Addresses are those at which clients reach the server.
	Addresses func() []string
	// Fingerprint is that of the server's certificate.
	Fingerprint string
	// Secret makes the secret of a token from its ID, the same each time. It follows from the server's key, so that the store, which has only
	// its hash, gives nobody a way in, while a token can be shown again, also by the next daemon. Another key would make a token worth
	// nothing: the fingerprint in it would be wrong, too.
	Secret func(id string) (string, error)
	// Expires is when a token that is made at an instant expires; the zero time is never.
	Expires func(time.Time) time.Time
	// Retire ends the operation of a token that was used.
	Retire func(id string)
}

// tokenRecord is a token as the store keeps it, under the SHA-256 of its secret.
type tokenRecord struct {
	ID         string    `json:"id"` // of its operation
	Name       string    `json:"name"`
	Restricted bool      `json:"restricted"`
	Projects   []string  `json:"projects"`
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at"` // zero: never
}

var (
	errNoToken = api.Forbidden("No matching certificate add operation found")
	errExpired = api.Forbidden("Failed during search for certificate add token operation: Token has expired")
)

// forever is longer than any token waits.
const forever = time.Duration(math.MaxInt64)

// IssueToken makes a token with which one client gets in, once, and keeps it. The task is the operation that shows it, to be run at once.
func (s *Service) IssueToken(ctx context.Context, req api.CertificatesPost) (*operation.Task, error) {
	if !mayAdd(request.CallerFrom(ctx)) {
		return nil, request.ErrNotAuthorized
	}
	if err := mayGive(request.CallerFrom(ctx), req.CertificatePut); err != nil {
		return nil, err
	}
	switch {
	case req.Certificate != "":
		return nil, api.BadRequest("Can't use certificate if token is requested")
	case req.Type != "client":
		return nil, api.BadRequest("Tokens can only be issued for client certificates")
	case len(s.Tokens.Addresses()) == 0:
		return nil, api.BadRequest("Can't issue token when server isn't listening on network")
	}
	release, err := s.holdProjects(ctx, req.Projects)
	if err != nil {
		return nil, err
	}
	defer release()
	now := time.Now().UTC()
	r := &tokenRecord{ID: uuid.NewString(), Name: req.Name, Restricted: req.Restricted, Projects: tidy(req.Projects), CreatedAt: now, ExpiresAt: s.Tokens.Expires(now)}
	secret, err := s.Tokens.Secret(r.ID)
	if err != nil {
		return nil, err
	}
	err = store.ErrConflict
	for errors.Is(err, store.ErrConflict) && ctx.Err() == nil { // of the caller's own certificate: nobody else has the secret
		err = s.commit(ctx, s.tokens.Create(r, hash(secret)))
	}
	if err != nil {
		return nil, err
	}
	return s.tokenTask(r, secret), nil
}

// OpenTokens are the operations of the tokens that a daemon before this one issued, to be run when it starts. What has expired meanwhile,
// or was made with another key, is dropped.
func (s *Service) OpenTokens(ctx context.Context) ([]*operation.Task, error) {
	var tasks []*operation.Task
	for _, row := range s.tokens.List() {
		secret, err := s.Tokens.Secret(row.Value.ID)
		if err != nil {
			return tasks, err
		}
		if row.Path[0] == hash(secret) && !row.Value.expired() {
			tasks = append(tasks, s.tokenTask(row.Value, secret))
			continue
		}
		if _, err := s.Store.Commit(ctx, s.tokens.Remove(row.Path...)); err != nil {
			return tasks, err
		}
	}
	return tasks, nil
}

// CheckToken tells whether a token can still be used.
func (s *Service) CheckToken(id string) bool {
	_, err := s.tokenOf(id)
	return err == nil
}

// RevokeToken makes a token worth nothing; one that was used is not there any more.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	row, err := s.tokenOf(id)
	if err != nil {
		return err
	}
	for {
		_, err := s.Store.Commit(ctx, s.tokens.RemoveAt(row.Revision, row.Path...))
		if !errors.Is(err, store.ErrConflict) || ctx.Err() != nil {
			return err
		}
		if row, err = s.tokenOf(id); err != nil {
			return err
		}
	}
}

func (s *Service) tokenOf(id string) (store.Row[tokenRecord], error) {
	for _, row := range s.tokens.List() {
		if row.Value.ID == id {
			return row, nil
		}
	}
	return store.Row[tokenRecord]{}, api.NotFound("The token was used, revoked or has expired")
}

// tokenTask waits until a token is used, revoked or expires.
func (s *Service) tokenTask(r *tokenRecord, secret string) *operation.Task {
	metadata := map[string]any{"request": r.request(), "secret": secret, "fingerprint": s.Tokens.Fingerprint, "addresses": s.Tokens.Addresses()}
	if !r.ExpiresAt.IsZero() {
		metadata["expiresAt"] = r.ExpiresAt
	}
	id := r.ID
	return &operation.Task{
		ID: id, Created: r.CreatedAt, Class: operation.ClassToken, Description: "Certificate add token", Metadata: metadata, Bound: forever,
		Revoke: func(ctx context.Context) error { return s.RevokeToken(ctx, id) },
		Run: func(ctx context.Context, _ operation.Progress) error {
			var late <-chan time.Time
			if !r.ExpiresAt.IsZero() {
				timer := time.NewTimer(time.Until(r.ExpiresAt))
				defer timer.Stop()
				late = timer.C
			}
			select {
			case <-late:
				if err := s.RevokeToken(ctx, id); err != nil && !api.IsNotFound(err) {
					return fmt.Errorf("drop an expired token: %w", err)
				}
				return errors.New("Token has expired")
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}

// redeem trusts the certificate that a client has shown for a token. Of several who come with one, one gets in; and who is refused for
// another reason has not used it up.
func (s *Service) redeem(ctx context.Context, token api.CertificateAddToken, shown *x509.Certificate) (string, error) {
	for {
		row, ok := s.tokens.Get(hash(token.Secret))
		switch {
		case !ok && !token.ExpiresAt.IsZero() && time.Now().After(token.ExpiresAt), ok && row.Value.expired():
			return "", errExpired
		case !ok:
			return "", errNoToken
		}
		fingerprint, err := s.add(ctx, row.Value.request().CertificatePut, shown, s.tokens.RemoveAt(row.Revision, row.Path...))
		if errors.Is(err, store.ErrConflict) && ctx.Err() == nil {
			continue // it was used, or follows a project to another name
		}
		if err != nil {
			return "", err
		}
		s.Tokens.Retire(row.Value.ID)
		return fingerprint, nil
	}
}

func (r *tokenRecord) expired() bool { return !r.ExpiresAt.IsZero() && !time.Now().Before(r.ExpiresAt) }

func hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

package certificate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// newService has the projects "a" and "b"; its daemon is a test.
func newService(t *testing.T) *Service {
	t.Helper()
	return load(t, store.NewMemory(), &fakeProjects{})
}

func load(t *testing.T, engine store.Engine, projects *fakeProjects) *Service {
	t.Helper()
	s := store.New(engine)
	svc := New(Deps{
		Store: s, Events: event.Nobody{}, Projects: projects, Password: func(p string) bool { return p == "right" },
		Tokens: TokenDeps{
			Addresses: func() []string { return []string{"192.0.2.9:8443"} }, Fingerprint: strings.Repeat("ab", 32),
			Secret:  func(id string) (string, error) { return "secret of " + id, nil },
			Expires: func(now time.Time) time.Time { return time.Time{} },
			Retire:  func(string) {},
		},
	})
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return svc
}

// fakeProjects are the projects "a" and "b".
type fakeProjects struct{ held atomic.Int32 }

func (p *fakeProjects) HoldAll(_ context.Context, _ string, names []string) (func(), error) {
	for _, name := range names {
		if name != "a" && name != "b" {
			return nil, api.NotFound("Project not found")
		}
	}
	p.held.Add(1)
	return func() { p.held.Add(-1) }, nil
}

func newCert(t *testing.T, name string, until time.Duration) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(until)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func asPEM(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

func as(trusted bool) context.Context {
	c := request.Caller{Protocol: "tls", Address: "192.0.2.1:5", Trusted: trusted}
	if trusted {
		c.Rights = access.Full()
	}
	return request.WithCaller(context.Background(), c)
}

// to is a change that replaces all.
func to(put api.CertificatePut) func(*api.CertificatePut) error {
	return func(c *api.CertificatePut) error { *c = put; return nil }
}

func post(kind, password, cert string) api.CertificatesPost {
	p := api.CertificatesPost{Password: password}
	p.Type, p.Certificate = kind, cert
	return p
}

func TestAdd(t *testing.T) {
	mine, other, old := newCert(t, "me", time.Hour), newCert(t, "other", time.Hour), newCert(t, "old", -time.Minute)
	tests := []struct {
		name    string
		trusted bool
		req     api.CertificatesPost
		shown   *x509.Certificate
		status  int
	}{
		{"wrong password", false, post("client", "wrong", ""), mine, 403},
		{"no password", false, post("client", "", ""), mine, 403},
		{"right password", false, post("client", "right", ""), mine, 0},
		{"right password, nothing shown", false, post("client", "right", ""), nil, 400},
		{"right password, another's certificate is not looked at", false, post("client", "right", asPEM(other)), mine, 0},
		{"right password, expired", false, post("client", "right", ""), old, 400},
		{"trusted, no certificate", true, post("client", "", ""), nil, 400},
		{"trusted", true, post("client", "", asPEM(other)), nil, 0},
		{"trusted, odd type", true, post("foo", "", asPEM(other)), nil, 400},
		{"trusted, rubbish", true, post("client", "", "Zm9v"), nil, 400},
		{"trusted, not even base64", true, post("client", "", "!"), nil, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t)
			fp, err := s.Add(as(tt.trusted), tt.req, tt.shown)
			if tt.status != 0 {
				if api.StatusOf(err) != tt.status || len(s.List(as(true), nil)) != 0 {
					t.Errorf("%v, %d certificates", err, len(s.List(as(true), nil)))
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := tt.shown
			if want == nil {
				want = other
			}
			if c, ok := s.Trusted(want); !ok || c.Fingerprint != fp || c.Name != want.Subject.CommonName {
				t.Errorf("%v %+v", ok, c)
			}
			if _, err := s.Add(as(tt.trusted), tt.req, tt.shown); api.StatusOf(err) != 409 {
				t.Errorf("twice: %v", err)
			}
		})
	}
}

func TestLifeOfACertificate(t *testing.T) {
	s := newService(t)
	c := newCert(t, "me", time.Hour)
	fp, err := s.Add(as(true), post("client", "", asPEM(c)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, _, err := s.Get(as(true), fp[:12]); err != nil || got.Fingerprint != fp {
		t.Fatalf("%v %+v", err, got)
	}
	for _, prefix := range []string{"", "zz"} {
		if _, _, err := s.Get(as(true), prefix); !api.IsNotFound(err) {
			t.Errorf("%q: %v", prefix, err)
		}
	}
	ok := func(store.Revision) error { return nil }
	put := api.CertificatePut{Name: "n", Type: "client", Restricted: true, Projects: []string{"a", "b", "a"}}
	if err := s.Update(as(true), fp[:12], to(put), ok); err != nil {
		t.Fatal(err)
	}
	if got, _, _ := s.Get(as(true), fp); got.Name != "n" || !got.Restricted || !slices.Equal(got.Projects, []string{"a", "b"}) || got.Certificate != asPEM(c) {
		t.Errorf("%+v", got)
	}
	put.Type = "metrics"
	if err := s.Update(as(true), fp, to(put), ok); api.StatusOf(err) != 403 {
		t.Errorf("%v", err)
	}
	next := newCert(t, "next", time.Hour)
	put.Type, put.Certificate = "client", asPEM(next)
	if err := s.Update(as(true), fp, to(put), ok); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Trusted(c); ok {
		t.Error("the replaced certificate is still trusted")
	}
	if _, ok := s.Trusted(next); !ok {
		t.Error("the new certificate is not trusted")
	}
	if err := s.Delete(as(true), Fingerprint(next)); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Trusted(next); ok || len(s.List(as(true), nil)) != 0 {
		t.Error("still there after delete")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("Zm9v")
	f.Add("-----BEGIN CERTIFICATE-----\nZm9v\n-----END CERTIFICATE-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Parse(text); err != nil && api.StatusOf(err) != 400 {
			t.Error(err)
		}
	})
}

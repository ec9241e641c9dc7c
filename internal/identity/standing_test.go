package identity

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// as is a context of the holder of an identity's certificate, with the rights of now.
func (s *Service) as(t *testing.T, cert *x509.Certificate) context.Context {
	t.Helper()
	rights, ok := s.Trusted(cert)
	if !ok {
		t.Fatal("it is not trusted")
	}
	return request.WithCaller(t.Context(), request.Caller{
		Protocol: "tls", Username: certificate.Fingerprint(cert), Address: "192.0.2.1:1", Trusted: true, Rights: rights, ByGroups: true,
	})
}

func (s *Service) mustIdentity(t *testing.T, name string, cert *x509.Certificate, groups ...string) {
	t.Helper()
	if _, err := s.CreateTLS(t.Context(), api.IdentitiesTLSPost{Name: name, Certificate: encode(cert), Groups: groups}); err != nil {
		t.Fatal(err)
	}
}

// TestAnIdentityThatRenewsToATrustedCertificateHearsSo: the commit that it would take never succeeds. Its holder hears what they hear of any other
// certificate, and whoever may edit it that it is there.
func TestAnIdentityThatRenewsToATrustedCertificateHearsSo(t *testing.T) {
	s := newService(t, world{})
	certs := s.Certificates.(*certificate.Service)
	listed := certificateOf(t)
	if _, err := certs.Add(t.Context(), api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "listed", Type: "client", Certificate: encode(listed)}}, nil); err != nil {
		t.Fatal(err)
	}
	mine := certificateOf(t)
	s.mustIdentity(t, "x", mine)
	id := certificate.Fingerprint(mine)
	renew := func(ctx context.Context) error {
		return s.Update(ctx, api.AuthTLS, id, func(p *api.IdentityPut) error { p.TLSCertificate = encode(listed); return nil }, anyRevision)
	}
	if err := renew(t.Context()); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("an administrator hears %v", err)
	}
	if err := renew(s.as(t, mine)); err != nil {
		t.Errorf("its holder hears %v", err)
	}
	if s.Has(id) || s.Has(certificate.Fingerprint(listed)) || !certs.Has(certificate.Fingerprint(listed)) {
		t.Error("the listed certificate is another one's now, or the old one is still let in")
	}
	token, err := s.IssueToken(t.Context(), api.IdentitiesTLSPost{Name: "y", Token: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Redeem(t.Context(), token.String(), listed); api.StatusOf(err) != http.StatusConflict {
		t.Errorf("who is in the store already and has a token hears %v", err)
	}
}

// TestWhoIsTakenOutOfAGroupMeanwhileStaysOut: what an administrator had begun before they were one no more comes to nothing.
func TestWhoIsTakenOutOfAGroupMeanwhileStaysOut(t *testing.T) {
	for what, act := range map[string]func(s *Service, ctx context.Context, id string, meanwhile func()) error{
		"puts themselves back": func(s *Service, ctx context.Context, id string, meanwhile func()) error {
			return s.Update(ctx, api.AuthTLS, id, func(p *api.IdentityPut) error { meanwhile(); p.Groups = []string{"admins"}; return nil }, anyRevision)
		},
		"gives a group more": func(s *Service, ctx context.Context, _ string, meanwhile func()) error {
			return s.UpdateGroup(ctx, "team", func(g *api.AuthGroupPut) error {
				meanwhile()
				g.Permissions = []api.Permission{on(access.Object{Entity: access.Server}, access.Admin)}
				return nil
			}, anyRevision)
		},
		"makes a group": func(s *Service, ctx context.Context, _ string, meanwhile func()) error {
			meanwhile()
			return s.CreateGroup(ctx, api.AuthGroupsPost{Name: "more"})
		},
		"lets another in": func(s *Service, ctx context.Context, _ string, meanwhile func()) error {
			meanwhile()
			_, err := s.CreateTLS(ctx, api.IdentitiesTLSPost{Name: "other", Certificate: encode(certificateOf(t)), Groups: []string{"admins"}})
			return err
		},
		"lets another in by the trust store": func(s *Service, ctx context.Context, _ string, meanwhile func()) error {
			meanwhile()
			certs := s.Certificates.(*certificate.Service)
			_, err := certs.Add(ctx, api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "other", Type: "client", Certificate: encode(certificateOf(t))}}, nil)
			return err
		},
	} {
		for how, take := range map[string]func(s *Service, id string) error{
			"out of the group": func(s *Service, id string) error {
				return s.Update(t.Context(), api.AuthTLS, id, func(p *api.IdentityPut) error { p.Groups = []string{"team"}; return nil }, anyRevision)
			},
			"with the group": func(s *Service, _ string) error { return s.DeleteGroup(t.Context(), "admins") },
			"away":           func(s *Service, id string) error { return s.Delete(t.Context(), api.AuthTLS, id) },
		} {
			s := newService(t, world{})
			s.Certificates.(*certificate.Service).Identities = s
			s.mustGroup(t, "admins", on(access.Object{Entity: access.Server}, access.Admin))
			s.mustGroup(t, "team")
			mine := certificateOf(t)
			s.mustIdentity(t, "y", mine, "admins", "team")
			id, done := certificate.Fingerprint(mine), false
			err := act(s, s.as(t, mine), id, func() {
				if !done {
					if err := take(s, id); err != nil {
						t.Fatal(err)
					}
					done = true
				}
			})
			if status := api.StatusOf(err); status != http.StatusForbidden && status != http.StatusNotFound {
				t.Errorf("who is taken %s %s: %v", how, what, err)
			}
			if rights, ok := s.Trusted(mine); ok && rights.All() {
				t.Errorf("who is taken %s %s, and is an administrator", how, what)
			}
			if g, _, err := s.Group(t.Context(), "team"); err != nil || len(g.Permissions) > 0 {
				t.Errorf("who is taken %s %s: the group %+v, %v", how, what, g, err)
			}
		}
	}
}

// TestManyGroupsFollowTheirObject: more than one commit takes.
func TestManyGroupsFollowTheirObject(t *testing.T) {
	objects := world{c1: "u1"}
	s := newService(t, objects)
	mine, next := certificateOf(t), certificateOf(t)
	s.mustIdentity(t, "x", mine)
	id := certificate.Fingerprint(mine)
	const many = store.MaxOps + 2
	for n := range many {
		s.mustGroup(t, fmt.Sprintf("g%03d", n), on(c1, access.CanExec), on(identityObject(api.AuthTLS, id), access.CanView))
	}
	about := func(o access.Object) (n int) {
		for _, g := range s.Groups(t.Context()) {
			for _, p := range g.Permissions {
				if p.EntityReference == o.URL() {
					n++
				}
			}
		}
		return n
	}
	moved := access.Object{Entity: access.Instance, Project: "default", Name: "c2"}
	delete(objects, c1)
	objects[moved] = "u1"
	if err := s.Moved(t.Context(), c1, moved); err != nil || about(moved) != many {
		t.Errorf("after a rename %d groups have it: %v", about(moved), err)
	}
	renew := func(p *api.IdentityPut) error { p.TLSCertificate = encode(next); return nil }
	if err := s.Update(s.as(t, mine), api.AuthTLS, id, renew, anyRevision); err != nil || about(identityObject(api.AuthTLS, certificate.Fingerprint(next))) != many {
		t.Errorf("after a renewal: %v", err)
	}
	if err := s.Gone(t.Context(), moved); err != nil || about(moved) != 0 {
		t.Errorf("after its end %d groups have it: %v", about(moved), err)
	}
}

// TestWhoEditsWhatAProvidersGroupStandsForGivesNoMoreThanTheyHave, and may take away.
func TestWhoEditsWhatAProvidersGroupStandsForGivesNoMoreThanTheyHave(t *testing.T) {
	s := newService(t, world{})
	server := access.Object{Entity: access.Server}
	s.mustGroup(t, "admins", on(server, access.Admin))
	s.mustGroup(t, "team")
	if err := s.CreateMapping(t.Context(), api.IdentityProviderGroup{Name: "corp", Groups: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	s.mustGroup(t, "editors", on(mappingObject("corp"), access.CanEdit))
	mine := certificateOf(t)
	s.mustIdentity(t, "z", mine, "editors")
	for groups, want := range map[string]int{"admins": http.StatusForbidden, "team": http.StatusOK, "": http.StatusOK} {
		err := s.UpdateMapping(s.as(t, mine), "corp", func(p *api.IdentityProviderGroupPut) error {
			p.Groups = strings.Fields(groups)
			return nil
		}, anyRevision)
		if (err == nil) != (want == http.StatusOK) || err != nil && api.StatusOf(err) != want {
			t.Errorf("to %q: %v", groups, err)
		}
	}
}

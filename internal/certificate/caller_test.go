package certificate

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// by is the caller who shows a certificate that is restricted to a project.
func by(cert *x509.Certificate) context.Context {
	return request.WithCaller(context.Background(), request.Caller{
		Protocol: "tls", Username: Fingerprint(cert), Address: "192.0.2.1:5", Trusted: true, Rights: access.Restricted(Fingerprint(cert), []string{"a"}),
	})
}

func always(store.Revision) error { return nil }

// patch is a change that JSON tells of.
func patch(text string) func(*api.CertificatePut) error {
	return func(c *api.CertificatePut) error { return json.Unmarshal([]byte(text), c) }
}

func quoted(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

// TestWhoeverIsRestrictedRenewsTheirCertificateAndNothingElse is LXD's certificate_self_renewal.
func TestWhoeverIsRestrictedRenewsTheirCertificateAndNothingElse(t *testing.T) {
	s := newService(t)
	mine, next, other := newCert(t, "mine", time.Hour), newCert(t, "next", time.Hour), newCert(t, "other", time.Hour)
	restricted := post("client", "", asPEM(mine))
	restricted.Restricted, restricted.Projects = true, []string{"a"}
	for _, req := range []api.CertificatesPost{restricted, post("client", "", asPEM(other))} {
		if _, err := s.Add(as(true), req, nil); err != nil {
			t.Fatal(err)
		}
	}
	me, own := by(mine), Fingerprint(mine)
	for change, status := range map[string]int{
		`{"name":"x"}`:           403,
		`{"restricted":false}`:   403,
		`{"projects":["a","b"]}`: 403,
		`{"projects":[]}`:        403,
		`{"type":"metrics"}`:     403,
		`{"name":"x","certificate":` + quoted(asPEM(next)) + `}`:                 403,
		`{"certificate":"Zm9v"}`:                                                 400,
		`{"certificate":` + quoted(asPEM(newCert(t, "old", -time.Minute))) + `}`: 400,
		`{}`:              0,
		`{"name":"mine"}`: 0,
	} {
		if err := s.Update(me, own, patch(change), always); err == nil && status != 0 || err != nil && api.StatusOf(err) != status {
			t.Errorf("%.60s: %v, want %d", change, err, status)
		}
	}
	for what, err := range map[string]error{
		"changes another's":    s.Update(me, Fingerprint(other), patch(`{}`), always),
		"renews another's":     s.Update(me, Fingerprint(other), patch(`{"certificate":`+quoted(asPEM(next))+`}`), always),
		"removes another's":    s.Delete(me, Fingerprint(other)),
		"removes its own":      s.Delete(me, own),
		"removes what is none": s.Delete(me, "ff"),
		"sees another's":       second(s.Get(me, Fingerprint(other))),
		"sees what is none":    second(s.Get(me, "ff")),
		"adds one":             added(s.Add(me, post("client", "", asPEM(next)), mine)),
		"adds by the password": added(s.Add(me, post("client", "right", asPEM(next)), mine)),
		"makes a token":        issued(s, me),
	} {
		if status := api.StatusOf(err); status != 403 && status != 404 {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list := s.List(me, nil); len(list) != 1 || list[0].Fingerprint != own {
		t.Errorf("sees %+v", list)
	}
	if _, _, err := s.Get(me, ""); !api.IsNotFound(err) {
		t.Errorf("%v", err)
	}
	// A prefix is that of one's own, whatever others there are.
	if c, _, err := s.Get(me, own[:1]); err != nil || c.Fingerprint != own {
		t.Errorf("%+v %v", c, err)
	}
	if err := s.Update(me, own, patch(`{"certificate":`+quoted(asPEM(next))+`}`), always); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Trusted(mine); ok {
		t.Error("the old one is still trusted")
	}
	if c, ok := s.Trusted(next); !ok || !c.Restricted || !slices.Equal(c.Projects, []string{"a"}) || c.Name != "mine" {
		t.Errorf("%v %+v", ok, c)
	}
	if len(s.List(as(true), nil)) != 2 {
		t.Error("who is not restricted does not see all")
	}
}

func second(_ api.Certificate, _ store.Revision, err error) error { return err }

func added(_ string, err error) error { return err }

func issued(s *Service, ctx context.Context) error {
	_, err := s.IssueToken(ctx, post("client", "", ""))
	return err
}

// TestWhoeverHasACertificateForMetricsLetsNobodyIn.
func TestWhoeverHasACertificateForMetricsLetsNobodyIn(t *testing.T) {
	s := newService(t)
	mine := newCert(t, "mine", time.Hour)
	if _, err := s.Add(as(true), post("metrics", "", asPEM(mine)), nil); err != nil {
		t.Fatal(err)
	}
	scraper := request.WithCaller(context.Background(), request.Caller{Protocol: "tls", Username: Fingerprint(mine), Rights: access.Metrics()})
	if _, err := s.Add(scraper, post("client", "", asPEM(newCert(t, "x", time.Hour))), mine); api.StatusOf(err) != 403 {
		t.Errorf("%v", err)
	}
	if err := issued(s, scraper); api.StatusOf(err) != 403 {
		t.Errorf("%v", err)
	}
	if len(s.List(scraper, nil)) != 0 {
		t.Error("it sees the trust store")
	}
}

// TestTheAuthorityIsAskedOfEachCertificate, whoever brings it.
func TestTheAuthorityIsAskedOfEachCertificate(t *testing.T) {
	s := newService(t)
	good, bad := newCert(t, "good", time.Hour), newCert(t, "bad", time.Hour)
	s.Refuses = func(c *x509.Certificate) error {
		if c.Equal(bad) {
			return errors.New("no")
		}
		return nil
	}
	_, token := issue(t, s, api.CertificatesPost{})
	for what, status := range map[*api.CertificatesPost]int{{Password: "right"}: 403, {Password: token}: 403} {
		what.Type = "client"
		if _, err := s.Add(as(false), *what, bad); api.StatusOf(err) != status {
			t.Errorf("%v", err)
		}
	}
	if _, err := s.Add(as(true), post("client", "", asPEM(bad)), nil); api.StatusOf(err) != 400 {
		t.Errorf("%v", err)
	}
	if _, err := s.Add(as(false), post("client", token, ""), good); err != nil {
		t.Error(err)
	}
	if err := s.Update(as(true), Fingerprint(good), patch(`{"certificate":`+quoted(asPEM(bad))+`}`), always); api.StatusOf(err) != 400 {
		t.Errorf("%v", err)
	}
}

// TestChangesAtOnceAllCount: each changes what it says, of the certificate as the others left it.
func TestChangesAtOnceAllCount(t *testing.T) {
	s := newService(t)
	cert := newCert(t, "c", time.Hour)
	fingerprint, err := s.Add(as(true), post("client", "", asPEM(cert)), nil)
	if err != nil {
		t.Fatal(err)
	}
	changes := []string{`{"name":"n"}`, `{"restricted":true}`, `{"projects":["a"]}`, `{"certificate":` + quoted(asPEM(cert)) + `}`}
	var all sync.WaitGroup
	for _, change := range changes {
		all.Go(func() {
			if err := s.Update(as(true), fingerprint, patch(change), always); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if c, _, err := s.Get(as(true), fingerprint); err != nil || c.Name != "n" || !c.Restricted || !slices.Equal(c.Projects, []string{"a"}) {
		t.Errorf("%+v %v", c, err)
	}
}

// TestAChangeThatIsRefusedChangesNothing, not even what is shared with the store.
func TestAChangeThatIsRefusedChangesNothing(t *testing.T) {
	s := newService(t)
	req := post("client", "", asPEM(newCert(t, "c", time.Hour)))
	req.Restricted, req.Projects = true, []string{"a"}
	fingerprint, err := s.Add(as(true), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []string{`{"projects":["none"]}`, `{"projects":["b"],"type":"metrics"}`, `{"projects":["b"],"certificate":"!"}`, `{"projects":["b"],"name":1}`} {
		if err := s.Update(as(true), fingerprint, patch(change), always); err == nil {
			t.Errorf("%s is done", change)
		}
		if c, _, err := s.Get(as(true), fingerprint); err != nil || !slices.Equal(c.Projects, []string{"a"}) {
			t.Errorf("after %s: %+v %v", change, c, err)
		}
	}
	c, _, _ := s.Get(as(true), fingerprint)
	c.Projects[0] = "x"
	if again, _, _ := s.Get(as(true), fingerprint); again.Projects[0] != "a" {
		t.Error("what a caller was given is the store's own")
	}
	if n := s.Projects.(*fakeProjects).held.Load(); n != 0 {
		t.Errorf("%d projects are still held", n)
	}
}

// TestCertificatesFollowTheirProjects when these are renamed, and are for one less when it goes.
func TestCertificatesFollowTheirProjects(t *testing.T) {
	s := newService(t)
	req := post("client", "", asPEM(newCert(t, "c", time.Hour)))
	req.Restricted, req.Projects = true, []string{"a", "b"}
	fingerprint, err := s.Add(as(true), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, token := issue(t, s, api.CertificatesPost{CertificatePut: api.CertificatePut{Restricted: true, Projects: req.Projects}})
	for _, step := range []struct {
		ops  func() []store.Op
		want []string
	}{
		{func() []store.Op { return s.RenameProject("a", "z") }, []string{"z", "b"}},
		{func() []store.Op { return s.RemoveProject("b") }, []string{"z"}},
		{func() []store.Op { return s.RenameProject("z", "a") }, []string{"a"}},
	} {
		if _, err := s.Store.Commit(t.Context(), step.ops()...); err != nil {
			t.Fatal(err)
		}
		if c, _, err := s.Get(as(true), fingerprint); err != nil || !slices.Equal(c.Projects, step.want) || !c.Restricted {
			t.Errorf("%+v, %v, want %q", c, err, step.want)
		}
	}
	if ops := s.RenameProject("none", "y"); len(ops) != 0 {
		t.Errorf("a project that no certificate is for changes %d", len(ops))
	}
	joined, err := s.Add(as(false), post("client", token, ""), newCert(t, "joined", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := s.Get(as(true), joined); err != nil || !slices.Equal(c.Projects, []string{"a"}) || !c.Restricted {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestWhatTheAuthorityWouldLetInStaysRestricted: its entry is all that keeps the holder of such a certificate from everything, and they have its key for
// as long as they like. Neither they nor an administrator take it out unawares; one that is revoked goes.
func TestWhatTheAuthorityWouldLetInStaysRestricted(t *testing.T) {
	s := newService(t)
	cert, next := newCert(t, "c", time.Hour), newCert(t, "next", time.Hour)
	vouches, revoked := true, false
	s.Vouches = func(*x509.Certificate) bool { return vouches }
	s.Refuses = func(c *x509.Certificate) error {
		if revoked && c.Equal(cert) {
			return errors.New("revoked")
		}
		return nil
	}
	req := post("client", "", asPEM(cert))
	req.Restricted, req.Projects = true, []string{"a"}
	fingerprint, err := s.Add(as(true), req, nil)
	if err != nil {
		t.Fatal(err)
	}
	kept := func(what string, err error) {
		t.Helper()
		if c, ok := s.Trusted(cert); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "ca.crl") || !ok || !c.Restricted {
			t.Errorf("%s: %v, %+v", what, err, c)
		}
	}
	renewal := patch(`{"certificate":` + quoted(asPEM(next)) + `}`)
	kept("renewed", s.Update(as(true), fingerprint, renewal, always))
	kept("deleted", s.Delete(as(true), fingerprint))
	revoked = true
	if err := s.Update(as(true), fingerprint, renewal, always); err != nil {
		t.Errorf("one that is revoked: %v", err)
	}
	vouches = false
	if err := s.Delete(as(true), Fingerprint(next)); err != nil {
		t.Errorf("where no authority is trusted: %v", err)
	}
}

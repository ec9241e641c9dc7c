package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/certificate"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/filter"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// world is what there is, by UUID.
type world map[access.Object]string

func (w world) Home(o access.Object) access.Object { return o }

func (w world) Find(o access.Object) (string, bool) { uuid, ok := w[o]; return uuid, ok }

func (w world) List(kind access.Entity) []access.Object {
	var all []access.Object
	for o := range w {
		if o.Entity == kind {
			all = append(all, o)
		}
	}
	return all
}

// trusted is an empty trust store.
type trusted struct{ out error }

func (trusted) List(context.Context, *filter.Clauses) []api.Certificate { return nil }
func (trusted) Has(string) bool                                         { return false }
func (trusted) Missing(string) store.Op                                 { return store.Op{} }
func (trusted) Standing(context.Context) ([]store.Op, error)            { return nil, nil }
func (trusted) Check(*x509.Certificate) error                           { return nil }
func (t trusted) StaysOut(*x509.Certificate) error                      { return t.out }

var c1 = access.Object{Entity: access.Instance, Project: "default", Name: "c1"}

func newService(t *testing.T, objects world) *Service {
	t.Helper()
	st := store.New(store.NewMemory())
	certs := certificate.New(certificate.Deps{Store: st, Events: event.Nobody{}})
	s := New(Deps{Store: st, Events: event.Nobody{}, Objects: objects, Certificates: certs, Tokens: Tokens{
		Addresses: func() []string { return []string{"127.0.0.1:8443"} }, Fingerprint: string(slices.Repeat([]byte("0"), 64)),
		Expires: func(time.Time) time.Time { return time.Time{} },
	}})
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func certificateOf(t *testing.T) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func anyRevision(store.Revision) error { return nil }

func on(o access.Object, e access.Entitlement) api.Permission {
	return api.Permission{EntityType: string(o.Entity), EntityReference: o.URL(), Entitlement: string(e)}
}

func (s *Service) mustGroup(t *testing.T, name string, permissions ...api.Permission) {
	t.Helper()
	if err := s.CreateGroup(t.Context(), api.AuthGroupsPost{Name: name, AuthGroupPut: api.AuthGroupPut{Permissions: permissions}}); err != nil {
		t.Fatal(err)
	}
}

// TestRightsComeOfGroups: with the group, with another's that the provider names, and with none.
func TestRightsComeOfGroups(t *testing.T) {
	s, ctx, cert := newService(t, world{c1: "u1"}), t.Context(), certificateOf(t)
	s.mustGroup(t, "team", on(c1, access.CanExec))
	s.mustGroup(t, "admins", on(access.Object{Entity: access.Server}, access.Admin))
	if _, err := s.CreateTLS(ctx, api.IdentitiesTLSPost{Name: "n", Certificate: encode(cert), Groups: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	id := certificate.Fingerprint(cert)
	may := func() bool {
		t.Helper()
		rights, ok := s.Trusted(cert)
		if !ok || !rights.Fine() && !rights.All() {
			t.Errorf("trusted %v", ok)
		}
		return rights.May(access.CanExec, c1)
	}
	regroup := func(groups ...string) {
		t.Helper()
		if err := s.Update(ctx, "tls", id, func(p *api.IdentityPut) error { p.Groups = groups; return nil }, anyRevision); err != nil {
			t.Fatal(err)
		}
	}
	if !may() {
		t.Error("a member may not")
	}
	before, _ := s.Trusted(cert)
	if err := s.RenameGroup(ctx, "team", "crew"); err != nil || !may() {
		t.Errorf("after a rename: %v", err)
	}
	if after, _ := s.Trusted(cert); !after.Cover(before) || !after.May(access.CanView, groupObject("crew")) {
		t.Error("what members have open ends with a group's name")
	}
	if regroup(); may() {
		t.Error("without a group it may")
	}
	regroup("admins")
	if rights, _ := s.Trusted(cert); !rights.All() {
		t.Error("an admin of the server may not everything")
	}
	regroup("crew")
	if err := s.DeleteGroup(ctx, "crew"); err != nil || may() {
		t.Errorf("by a group that is gone: %v", err)
	}
	s.mustGroup(t, "crew", on(c1, access.CanExec))
	if may() {
		t.Error("a new group of the name of an old one has its members")
	}
	if err := s.Delete(ctx, "tls", id); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Trusted(cert); ok {
		t.Error("a deleted identity is trusted")
	}
}

// TestOfTwoWithOneTokenOneIsIt, and it is worth nothing afterwards.
func TestOfTwoWithOneTokenOneIsIt(t *testing.T) {
	s, ctx := newService(t, nil), t.Context()
	token, err := s.IssueToken(ctx, api.IdentitiesTLSPost{Name: "n", Token: true})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	results := make([]error, 8)
	for n := range results {
		cert := certificateOf(t)
		wg.Go(func() { _, results[n] = s.Redeem(ctx, token.String(), cert) })
	}
	wg.Wait()
	in := 0
	for _, err := range results {
		if err == nil {
			in++
		} else if api.StatusOf(err) != 403 {
			t.Error(err)
		}
	}
	list := s.Identities(ctx, "")
	if in != 1 || len(list) != 1 || list[0].Type != api.IdentityClient || list[0].Name != "n" {
		t.Errorf("%d got in: %+v", in, list)
	}
}

// TestATokenThatHasExpired lets nobody in, nor does one of another secret.
func TestATokenThatHasExpired(t *testing.T) {
	s, ctx := newService(t, nil), t.Context()
	s.Tokens.Expires = func(now time.Time) time.Time { return now }
	token, err := s.IssueToken(ctx, api.IdentitiesTLSPost{Name: "n"})
	if err != nil {
		t.Fatal(err)
	}
	other := token
	other.Secret = "0"
	for _, text := range []string{token.String(), other.String(), "", "x"} {
		if _, err := s.Redeem(ctx, text, certificateOf(t)); api.StatusOf(err) != 403 {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestWhatIsNoPermissionIsRefused, by the field that is wrong.
func TestWhatIsNoPermissionIsRefused(t *testing.T) {
	s := newService(t, world{c1: "u1"})
	for _, tt := range []struct {
		p      api.Permission
		status int
	}{
		{api.Permission{EntityType: "storage_bucket", EntityReference: "/1.0", Entitlement: "can_view"}, 400},
		{api.Permission{EntityType: "instance", EntityReference: c1.URL(), Entitlement: "admin"}, 400},
		{api.Permission{EntityType: "instance", EntityReference: "/1.0", Entitlement: "can_view"}, 400},
		{api.Permission{EntityType: "instance", EntityReference: "c1", Entitlement: "can_view"}, 400},
		{api.Permission{EntityType: "instance", EntityReference: "/1.0/instances/c2", Entitlement: "can_view"}, 404},
		{api.Permission{EntityType: "group", EntityReference: "/1.0/auth/groups/nope", Entitlement: "can_view"}, 404},
	} {
		err := s.CreateGroup(t.Context(), api.AuthGroupsPost{Name: "g", AuthGroupPut: api.AuthGroupPut{Permissions: []api.Permission{tt.p}}})
		if api.StatusOf(err) != tt.status {
			t.Errorf("%+v: %v", tt.p, err)
		}
	}
	for _, name := range []string{"", "a/b", "..", "a\nb", string(make([]byte, 300))} {
		if err := s.CreateGroup(t.Context(), api.AuthGroupsPost{Name: name}); api.StatusOf(err) != 400 {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(s.Groups(t.Context())) != 0 {
		t.Error("a refused group is there")
	}
}

// TestAPermissionIsOfOneObject: another of its name, before anybody has told of it, is not it.
func TestAPermissionIsOfOneObject(t *testing.T) {
	objects := world{c1: "u1"}
	s, cert := newService(t, objects), certificateOf(t)
	s.mustGroup(t, "team", on(c1, access.CanView))
	if _, err := s.CreateTLS(t.Context(), api.IdentitiesTLSPost{Name: "n", Certificate: encode(cert), Groups: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	objects[c1] = "u2"
	if rights, _ := s.Trusted(cert); rights.May(access.CanView, c1) {
		t.Error("it is about another instance")
	}
	objects[c1] = "u1"
	if rights, _ := s.Trusted(cert); !rights.May(access.CanView, c1) {
		t.Error("it is about none")
	}
	delete(objects, c1)
	if err := s.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	objects[c1] = "u1"
	if rights, _ := s.Trusted(cert); rights.May(access.CanView, c1) {
		t.Error("what was pruned is back")
	}
}

// TestOfTwoChangesOfAGroupBothCount, and one that is based on an older one does not.
func TestOfTwoChangesOfAGroupBothCount(t *testing.T) {
	s, ctx := newService(t, world{c1: "u1"}), t.Context()
	s.mustGroup(t, "team")
	var wg sync.WaitGroup
	for _, e := range access.Entitlements(access.Instance) {
		wg.Go(func() {
			err := s.UpdateGroup(ctx, "team", func(p *api.AuthGroupPut) error { p.Permissions = append(p.Permissions, on(c1, e)); return nil }, anyRevision)
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	g, rev, err := s.Group(ctx, "team")
	if err != nil || len(g.Permissions) != len(access.Entitlements(access.Instance)) {
		t.Errorf("%v %v", g, err)
	}
	stale := func(now store.Revision) error {
		if now != rev-1 {
			return api.PreconditionFailed("no")
		}
		return nil
	}
	if err := s.UpdateGroup(ctx, "team", func(*api.AuthGroupPut) error { return nil }, stale); api.StatusOf(err) != 412 {
		t.Error(err)
	}
}

// TestItsHolderRenewsACertificate and changes nothing else; what an authority would let in with more rights stays.
func TestItsHolderRenewsACertificate(t *testing.T) {
	s, cert, next := newService(t, nil), certificateOf(t), certificateOf(t)
	s.mustGroup(t, "admins", on(access.Object{Entity: access.Server}, access.Admin))
	if _, err := s.CreateTLS(t.Context(), api.IdentitiesTLSPost{Name: "n", Certificate: encode(cert)}); err != nil {
		t.Fatal(err)
	}
	id := certificate.Fingerprint(cert)
	rights, _ := s.Trusted(cert)
	ctx := request.WithCaller(t.Context(), request.Caller{Protocol: "tls", Username: id, Trusted: true, Rights: rights})
	err := s.Update(ctx, "tls", id, func(p *api.IdentityPut) error { p.Groups = []string{"admins"}; return nil }, anyRevision)
	if api.StatusOf(err) != 403 {
		t.Errorf("it made itself an admin: %v", err)
	}
	renew := func(p *api.IdentityPut) error { p.TLSCertificate = encode(next); return nil }
	before := s.Certificates
	s.Certificates = trusted{out: api.BadRequest("an authority")}
	if err := s.Update(ctx, "tls", id, renew, anyRevision); api.StatusOf(err) != 400 {
		t.Errorf("%v", err)
	}
	if err := s.Delete(ctx, "tls", id); api.StatusOf(err) != 400 {
		t.Errorf("%v", err)
	}
	s.Certificates = before
	if err := s.Update(ctx, "tls", id, renew, anyRevision); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Trusted(cert); ok {
		t.Error("the old one is trusted")
	}
	if _, ok := s.Trusted(next); !ok {
		t.Error("the new one is not")
	}
}

// TestAProviderGroupStandsForGroups.
func TestAProviderGroupStandsForGroups(t *testing.T) {
	s, ctx := newService(t, world{c1: "u1"}), t.Context()
	s.mustGroup(t, "team", on(c1, access.CanView))
	if err := s.CreateMapping(ctx, api.IdentityProviderGroup{Name: "sales", Groups: []string{"team", "team"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateMapping(ctx, api.IdentityProviderGroup{Name: "sales"}); api.StatusOf(err) != 409 {
		t.Error(err)
	}
	if err := s.RenameMapping(ctx, "sales", "staff"); err != nil {
		t.Fatal(err)
	}
	g, _, err := s.Group(ctx, "team")
	if err != nil || !slices.Equal(g.IdentityProviderGroups, []string{"staff"}) {
		t.Errorf("%v %v", g, err)
	}
	if got := s.effective(&identity{}, []string{"staff", "sales"}); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if err := s.DeleteMapping(ctx, "staff"); err != nil || len(s.effective(&identity{}, []string{"staff"})) != 0 {
		t.Error(err)
	}
}

// TestProjectsTakePermissionsAlong, or away.
func TestProjectsTakePermissionsAlong(t *testing.T) {
	in := func(p string) access.Object { return access.Object{Entity: access.Instance, Project: p, Name: "c"} }
	objects := world{in("a"): "u", in("b"): "u", access.InProject("a"): "", access.InProject("b"): ""}
	s, ctx := newService(t, objects), t.Context()
	s.mustGroup(t, "team", on(in("a"), access.CanView), on(access.InProject("a"), access.Operator))
	if _, err := s.Store.Commit(ctx, s.RenameProject("a", "b")...); err != nil {
		t.Fatal(err)
	}
	if g, _, _ := s.Group(ctx, "team"); len(g.Permissions) != 2 || g.Permissions[0].EntityReference != in("b").URL() || g.Permissions[1].EntityReference != "/1.0/projects/b" {
		t.Errorf("%v", g)
	}
	if _, err := s.Store.Commit(ctx, s.RemoveProject("b")...); err != nil {
		t.Fatal(err)
	}
	if g, _, _ := s.Group(ctx, "team"); len(g.Permissions) != 0 {
		t.Errorf("%v", g)
	}
}

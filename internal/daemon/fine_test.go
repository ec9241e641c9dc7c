package daemon

import (
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
)

// TestAListShowsWhatIsSeen: rights to one object of a kind, in lists of its project, of another, of none and of all.
func TestAListShowsWhatIsSeen(t *testing.T) {
	w := newTenants(t)
	w.must("POST", "/1.0/instances?project=a", `{"name":"other","source":{"type":"none"},"profiles":["thing"]}`)
	w.must("POST", "/1.0/storage-pools/pool/volumes/custom?project=a", `{"name":"other"}`)
	w.trustFine("some", strings.Join([]string{
		`{"entity_type":"instance","url":"/1.0/instances/thing?project=a","entitlement":"user"}`,
		`{"entity_type":"profile","url":"/1.0/profiles/thing?project=a","entitlement":"can_edit"}`,
		`{"entity_type":"storage_volume","url":"/1.0/storage-pools/pool/volumes/custom/thing?project=a","entitlement":"can_view"}`,
	}, ","))
	for path, want := range map[string][]string{
		"/1.0/instances?project=a":                              {"/1.0/instances/thing?project=a"},
		"/1.0/instances?all-projects=1":                         {"/1.0/instances/thing?project=a"},
		"/1.0/profiles?project=a":                               {"/1.0/profiles/thing?project=a"},
		"/1.0/storage-pools/pool/volumes?project=a":             {"/1.0/storage-pools/pool/volumes/custom/thing?project=a"},
		"/1.0/storage-pools/pool/volumes/custom?all-projects=1": {"/1.0/storage-pools/pool/volumes/custom/thing?project=a"},
		"/1.0/instances?project=b":                              {},
		"/1.0/instances?project=nope":                           {},
		"/1.0/profiles?project=b":                               {},
		"/1.0/profiles?project=shares":                          {},
		"/1.0/profiles?project=nope":                            {},
		"/1.0/networks?project=a":                               {},
		"/1.0/projects":                                         {},
		"/1.0/images?project=a":                                 {},
		"/1.0/certificates":                                     {},
		"/1.0/auth/groups":                                      {"/1.0/auth/groups/some"},
	} {
		got := []string{}
		w.get("some", path, &got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	var list []api.Instance
	w.get("some", "/1.0/instances?project=a&recursion=1", &list)
	if len(list) != 1 || list[0].Name != "thing" {
		t.Errorf("%v", list)
	}
	var own api.IdentityInfo
	w.get("some", "/1.0/auth/identities/current", &own)
	if !own.FineGrained || own.Name != "some" || len(own.EffectivePermissions) != 3 || !slices.Equal(own.EffectiveGroups, []string{"some"}) {
		t.Errorf("%+v", own)
	}
}

// TestRightsFollowTheirObject: a permission is about the object it was given for, under whatever name, and not about another of that name.
func TestRightsFollowTheirObject(t *testing.T) {
	w := newTenants(t)
	w.trustFine("one", strings.Join([]string{
		`{"entity_type":"instance","url":"/1.0/instances/thing?project=a","entitlement":"can_view"}`,
		`{"entity_type":"storage_volume","url":"/1.0/storage-pools/pool/volumes/custom/thing?project=a","entitlement":"can_view"}`,
		`{"entity_type":"project","url":"/1.0/projects/shares","entitlement":"can_view"}`,
	}, ","))
	sees := func(path string, want bool) {
		t.Helper()
		if status, text := w.answer("one", "GET", path, ""); (status == 200) != want || !want && status != 403 {
			t.Errorf("%s: %d %s, want %v", path, status, text, want)
		}
	}
	sees("/1.0/instances/thing?project=a", true)
	w.must("POST", "/1.0/instances/thing?project=a", `{"name":"renamed"}`)
	sees("/1.0/instances/renamed?project=a", true)
	w.must("POST", "/1.0/instances?project=a", `{"name":"thing","source":{"type":"none"},"profiles":["thing"]}`)
	sees("/1.0/instances/thing?project=a", false)
	w.must("DELETE", "/1.0/instances/renamed?project=a", "")
	w.must("POST", "/1.0/instances?project=a", `{"name":"renamed","source":{"type":"none"},"profiles":["thing"]}`)
	sees("/1.0/instances/renamed?project=a", false)

	w.must("POST", "/1.0/storage-pools/pool/volumes/custom/thing?project=a", `{"name":"renamed"}`)
	sees("/1.0/storage-pools/pool/volumes/custom/renamed?project=a", true)
	w.must("DELETE", "/1.0/storage-pools/pool/volumes/custom/renamed?project=a", "")
	w.must("POST", "/1.0/storage-pools/pool/volumes/custom?project=a", `{"name":"renamed"}`)
	sees("/1.0/storage-pools/pool/volumes/custom/renamed?project=a", false)

	w.must("POST", "/1.0/projects/shares", `{"name":"shared"}`)
	sees("/1.0/projects/shared", true)
	w.must("DELETE", "/1.0/projects/shared", "")
	w.must("POST", "/1.0/projects", `{"name":"shared"}`)
	sees("/1.0/projects/shared", false)

	var g api.AuthGroup
	w.get("full", "/1.0/auth/groups/one", &g)
	if len(g.Permissions) != 0 {
		t.Errorf("%v", g.Permissions)
	}
}

// TestNobodyGivesMoreThanTheyHave: who may add others, or refresh, publish and make instances, gets nothing by it that was kept from them.
func TestNobodyGivesMoreThanTheyHave(t *testing.T) {
	w := newTenants(t)
	w.trustByGroups()
	w.trustFine("maker", strings.Join([]string{
		`{"entity_type":"server","url":"/1.0","entitlement":"can_create_identities"}`,
		`{"entity_type":"server","url":"/1.0","entitlement":"can_create_identity_provider_groups"}`,
		`{"entity_type":"project","url":"/1.0/projects/a","entitlement":"can_create_instances"}`,
		`{"entity_type":"project","url":"/1.0/projects/a","entitlement":"can_create_images"}`,
		`{"entity_type":"instance","url":"/1.0/instances/thing?project=b","entitlement":"operator"}`,
	}, ","))
	for _, tt := range []struct{ path, body string }{
		{"/1.0/certificates", `{"type":"client","certificate":"x"}`},
		{"/1.0/certificates", `{"type":"client","restricted":true,"projects":["a"],"certificate":"x"}`},
		{"/1.0/certificates", `{"type":"metrics","certificate":"x"}`},
		{"/1.0/certificates", `{"type":"client","token":true}`},
		{"/1.0/auth/identities/tls", `{"name":"n","certificate":"x","groups":["fine admin"]}`},
		{"/1.0/auth/identities/tls", `{"name":"n","token":true,"groups":["fine viewer"]}`},
		{"/1.0/auth/identity-provider-groups", `{"name":"n","groups":["fine operator"]}`},
		{"/1.0/auth/groups", `{"name":"n"}`},
		{"/1.0/images?project=a", `{"source":{"type":"instance","name":"thing"}}`},
		{"/1.0/instances?project=a", `{"name":"thing","source":{"type":"copy","source":"thing","project":"b","refresh":true}}`},
		{"/1.0/instances?project=a", `{"name":"new","source":{"type":"copy","source":"thing","project":"default"}}`},
	} {
		if status, text := w.answer("maker", "POST", tt.path, tt.body); status != 403 || !strings.Contains(text, refusal) {
			t.Errorf("POST %s %s: %d %s", tt.path, tt.body, status, text)
		}
	}
	// What they have themselves they may give.
	if status, text := w.answer("maker", "POST", "/1.0/auth/identities/tls", `{"name":"n","certificate":"x","groups":["fine none","maker"]}`); status != 400 {
		t.Errorf("%d %s", status, text)
	}
}

// TestEachEntitlementLetsIn: what can be granted opens some route that is closed without.
func TestEachEntitlementLetsIn(t *testing.T) {
	w := newTenants(t)
	w.must("POST", "/1.0/auth/groups", `{"name":"thing"}`)
	elsewhere := map[access.Entitlement]bool{ // what is asked by no route alone; tests of their own say what of it there is
		access.CanManageBackups: true, access.CanViewOperations: true, access.CanViewUnmanaged: true, access.CanViewMetrics: true, access.CanViewEvents: true,
		access.CanCreateIdentities: true,
	}
	for _, kind := range access.Entities() {
		for _, e := range access.Entitlements(kind) {
			if elsewhere[e] || kind == access.Image || kind == access.ImageAlias || strings.Contains(string(e), "image") {
				continue
			}
			object := access.Object{Entity: kind, Project: "a", Name: "thing"}
			if kind == access.Project {
				object = access.InProject("a")
			}
			rights := access.FineGrained(access.Grant{Entitlement: e, Object: object})
			opened := false
			for _, route := range w.d.server.Routes() {
				need := route.Need
				if route.Public || need.May == "" || need.May == access.Authenticated {
					continue
				}
				for _, o := range []access.Object{object, {Entity: access.Server}, access.InProject("a"), {Entity: need.On, Project: "a", Name: "thing"}} {
					opened = opened || rights.May(need.May, o) && (need.On == o.Entity || need.Name == "")
				}
			}
			if !opened {
				t.Errorf("%s on %s opens no route", e, kind)
			}
		}
	}
}

// TestWhoDeletesTheirOneObjectHearsSo, or gives it another name: their permission goes, or follows, and nothing of theirs ends by that.
func TestWhoDeletesTheirOneObjectHearsSo(t *testing.T) {
	w := newTenants(t)
	w.must("POST", "/1.0/storage-pools/pool/volumes/custom?project=a", `{"name":"v"}`)
	w.must("POST", "/1.0/profiles?project=a", `{"name":"p"}`)
	w.must("POST", "/1.0/profiles?project=a", `{"name":"others"}`)
	var permissions []string
	for entity, url := range map[string]string{
		"storage_volume": "/1.0/storage-pools/pool/volumes/custom/v?project=a", "profile": "/1.0/profiles/p?project=a",
	} {
		for _, may := range []string{"can_edit", "can_delete"} {
			permissions = append(permissions, `{"entity_type":"`+entity+`","url":"`+url+`","entitlement":"`+may+`"}`)
		}
	}
	permissions = append(permissions, `{"entity_type":"profile","url":"/1.0/profiles/others?project=a","entitlement":"can_view"}`,
		`{"entity_type":"project","url":"/1.0/projects/b","entitlement":"can_view_operations"}`)
	w.trustFine("one", strings.Join(permissions, ","))
	waits := w.waiting("one", "b")
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/1.0/storage-pools/pool/volumes/custom/v?project=a", `{"name":"v2"}`}, {"DELETE", "/1.0/storage-pools/pool/volumes/custom/v2?project=a", ""},
		{"POST", "/1.0/profiles/p?project=a", `{"name":"p2"}`}, {"DELETE", "/1.0/profiles/p2?project=a", ""},
	} {
		if status, text := w.answer("one", c.method, c.path, c.body); status >= 300 {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	w.must("DELETE", "/1.0/profiles/others?project=a", "")
	w.d.server.TrustChanged()
	select {
	case status := <-waits:
		t.Errorf("what has nothing to do with it ends with %d", status)
	default:
	}
	w.must("PUT", "/1.0/auth/groups/one", `{"permissions":[]}`)
	if status := <-waits; status != 403 {
		t.Errorf("without its rights it ends with %d", status)
	}
}

package access

import (
	"strings"
	"testing"
)

func in(kind Entity, project, name string) Object {
	return Object{Entity: kind, Project: project, Name: name}
}

var server = Object{Entity: Server}

// TestWhatGrantsImply: each role and entitlement, with what it reaches and where it ends.
func TestWhatGrantsImply(t *testing.T) {
	own, other := in(Instance, "a", "c1"), in(Instance, "b", "c1")
	tests := []struct {
		grant Grant
		want  Entitlement
		on    Object
		may   bool
	}{
		{Grant{Admin, server}, CanDelete, InProject("a"), true},
		{Grant{Admin, server}, CanExec, own, true},
		{Grant{Viewer, server}, CanView, own, true},
		{Grant{Viewer, server}, CanViewEvents, server, true},
		{Grant{Viewer, server}, CanExec, own, false},
		{Grant{Viewer, server}, Admin, server, false},
		{Grant{CanViewMetrics, server}, CanViewMetrics, server, true},
		{Grant{CanViewMetrics, server}, CanView, InProject("a"), false},
		{Grant{ProjectManager, server}, CanCreateProjects, server, true},
		{Grant{ProjectManager, server}, CanDelete, InProject("a"), true},
		{Grant{ProjectManager, server}, CanExec, own, true},
		{Grant{ProjectManager, server}, CanCreateInstances, InProject("a"), true},
		{Grant{ProjectManager, server}, CanEdit, server, false},
		{Grant{ProjectManager, server}, CanEdit, Object{Entity: StoragePool, Name: "p"}, false},
		{Grant{ProjectManager, server}, CanView, in(Network, Unmanaged, "eth0"), false},
		{Grant{CanViewUnmanaged, server}, CanView, in(Network, Unmanaged, "eth0"), true},
		{Grant{CanViewUnmanaged, server}, CanView, in(Network, "default", "br"), false},
		{Grant{"can_view_projects", server}, CanView, own, true},
		{Grant{"can_view_projects", server}, CanViewImages, InProject("a"), true},
		{Grant{"can_view_projects", server}, CanEdit, own, false},
		{Grant{"can_view_projects", server}, CanExec, own, false},
		{Grant{"can_edit_projects", server}, CanEdit, InProject("a"), true},
		{Grant{"can_edit_projects", server}, CanEdit, own, true},
		{Grant{"can_edit_projects", server}, CanDelete, own, false},
		{Grant{"can_delete_projects", server}, CanDelete, InProject("a"), true},
		{Grant{"can_delete_projects", server}, CanDelete, own, false},
		{Grant{CanViewMetrics, server}, CanViewMetrics, InProject("a"), true},
		{Grant{CanViewEvents, server}, CanViewEvents, InProject("a"), false},
		{Grant{PermissionManager, server}, CanViewPermissions, server, true},
		{Grant{PermissionManager, server}, CanCreateIdentities, server, true},
		{Grant{PermissionManager, server}, CanEdit, server, false},
		{Grant{PermissionManager, server}, CanEdit, Object{Entity: Group, Name: "g"}, true},
		{Grant{PermissionManager, server}, CanDelete, Object{Entity: Identity, Name: "oidc/a"}, true},
		{Grant{PermissionManager, server}, CanView, own, false},
		{Grant{"can_edit_groups", server}, CanEdit, Object{Entity: Group, Name: "g"}, true},
		{Grant{"can_edit_groups", server}, CanEdit, Object{Entity: IdentityProviderGroup, Name: "g"}, false},
		{Grant{"can_edit_identities", server}, CanRenew, Object{Entity: Certificate, Name: "ff"}, true},
		{Grant{"can_view_identities", server}, CanRenew, Object{Entity: Certificate, Name: "ff"}, false},
		{Grant{CanEdit, Object{Entity: Certificate, Name: "ff"}}, CanRenew, Object{Entity: Certificate, Name: "ff"}, true},
		{Grant{CanView, in(StorageVolume, "a", VolumeName("p", "custom", "v"))}, CanView, in(StorageVolume, "a", VolumeName("q", "custom", "v")), false},
		{Grant{"can_edit_projects", server}, CanDelete, InProject("a"), false},
		{Grant{CanCreateProjects, server}, CanView, InProject("a"), false},

		{Grant{Operator, InProject("a")}, CanDelete, own, true},
		{Grant{Operator, InProject("a")}, CanCreateInstances, InProject("a"), true},
		{Grant{Operator, InProject("a")}, CanViewEvents, InProject("a"), true},
		{Grant{Operator, InProject("a")}, CanView, InProject("a"), true},
		{Grant{Operator, InProject("a")}, CanEdit, InProject("a"), false},
		{Grant{Operator, InProject("a")}, CanDelete, InProject("a"), false},
		{Grant{Operator, InProject("a")}, CanView, InProject("b"), false},
		{Grant{Operator, InProject("a")}, CanView, other, false},
		{Grant{Operator, InProject("a")}, CanViewMetrics, server, false},
		{Grant{Operator, InProject("a")}, CanEdit, Object{Entity: StoragePool, Name: "default"}, false},
		{Grant{Operator, InProject("")}, CanView, Object{Entity: Certificate, Name: "ff"}, false},
		{Grant{Viewer, InProject("a")}, CanView, own, true},
		{Grant{Viewer, InProject("a")}, CanViewEvents, InProject("a"), true},
		{Grant{Viewer, InProject("a")}, CanUpdateState, own, false},
		{Grant{Viewer, InProject("a")}, CanCreateInstances, InProject("a"), false},
		{Grant{"instance_manager", InProject("a")}, CanCreateInstances, InProject("a"), true},
		{Grant{"instance_manager", InProject("a")}, CanExec, own, true},
		{Grant{"instance_manager", InProject("a")}, CanEdit, in(Profile, "a", "p"), false},
		{Grant{"instance_manager", InProject("a")}, CanCreateProfiles, InProject("a"), false},
		{Grant{CanViewInstances, InProject("a")}, CanView, own, true},
		{Grant{CanViewInstances, InProject("a")}, CanView, in(Image, "a", "f"), false},
		{Grant{"can_edit_instances", InProject("a")}, CanView, own, true},
		{Grant{"can_edit_instances", InProject("a")}, CanDelete, own, false},
		{Grant{CanCreateInstances, InProject("a")}, CanView, own, false},
		{Grant{CanCreateInstances, InProject("a")}, CanView, InProject("a"), true},
		{Grant{CanOperate, InProject("a")}, CanExec, own, true},
		{Grant{CanOperate, InProject("a")}, CanEdit, own, false},

		{Grant{CanExec, own}, CanExec, own, true},
		{Grant{CanExec, own}, CanView, own, true},
		{Grant{CanExec, own}, CanAccessFiles, own, false},
		{Grant{CanExec, own}, CanExec, other, false},
		{Grant{CanExec, own}, CanView, InProject("a"), false},
		{Grant{User, own}, CanUseConsole, own, true},
		{Grant{User, own}, CanUpdateState, own, false},
		{Grant{Operator, own}, CanManageSnapshots, own, true},
		{Grant{Operator, own}, CanEdit, own, false},
	}
	for _, tt := range tests {
		if got := Of(tt.grant).May(tt.want, tt.on); got != tt.may {
			t.Errorf("%s on %v: %s on %v is %v", tt.grant.Entitlement, tt.grant.Object, tt.want, tt.on, got)
		}
	}
}

func TestFullAndNone(t *testing.T) {
	for _, o := range []Object{server, InProject("a"), in(Instance, "a", "c")} {
		if !Full().May(Admin, o) || (Rights{}).May(CanView, o) {
			t.Errorf("%v", o)
		}
	}
	if Full().Viewer(Instance) != nil {
		t.Error("those who see all pay for each row")
	}
}

// TestARestrictedCertificate is for its projects and for itself.
func TestARestrictedCertificate(t *testing.T) {
	r := Restricted("ff00", []string{"a", "b"})
	for o, want := range map[Object]bool{
		in(Instance, "a", "c"): true, in(Image, "b", "f"): true, in(Instance, "default", "c"): false, in(Instance, "c", "c"): false,
		{Entity: Certificate, Name: "ff00"}: true, {Entity: Certificate, Name: "ff01"}: false, {Entity: Certificate, Name: "ff"}: false,
	} {
		if r.May(CanView, o) != want || o.Entity != Certificate && r.Viewer(o.Entity)(o.Project, o.Name) != want {
			t.Errorf("%v: want %v", o, want)
		}
	}
	own := Object{Entity: Certificate, Name: "ff00"}
	if !r.May(CanRenew, own) || r.May(CanEdit, own) || r.May(CanDelete, own) {
		t.Error("its holder may renew it, and nothing else")
	}
}

// TestCover tells whether a request that lasts may go on.
func TestCover(t *testing.T) {
	a, ab := Restricted("f", []string{"a"}), Restricted("f", []string{"a", "b"})
	for _, tt := range []struct {
		now, then Rights
		want      bool
	}{
		{Full(), Full(), true}, {Full(), a, true}, {ab, a, true}, {a, ab, false}, {a, Full(), false}, {Rights{}, a, false}, {Rights{}, Rights{}, true},
		{Metrics(), a, false},
	} {
		if got := tt.now.Cover(tt.then); got != tt.want {
			t.Errorf("%v covers %v: %v", tt.now, tt.then, got)
		}
	}
}

// TestWhatAListShows: rights to a whole project, to some of it, and to single objects.
func TestWhatAListShows(t *testing.T) {
	r := FineGrained(Grant{CanExec, in(Instance, "a", "c1")}, Grant{"can_edit_instances", InProject("b")}, Grant{CanView, in(Profile, "a", "c2")})
	sees := r.Viewer(Instance)
	for o, want := range map[Object]bool{
		in(Instance, "a", "c1"): true, in(Instance, "a", "c2"): false, in(Instance, "b", "x"): true, in(Instance, "c", "c1"): false,
	} {
		if sees(o.Project, o.Name) != want || r.May(CanView, o) != want {
			t.Errorf("%v: want %v", o, want)
		}
	}
	for project, want := range map[string]bool{"a": true, "b": true, "c": false} {
		if r.Some(Instance, project) != want || r.Some(Network, project) {
			t.Errorf("some in %s: want %v", project, want)
		}
	}
	for _, g := range []Grant{{Admin, server}, {Viewer, server}, {"can_view_projects", server}, {ProjectManager, server}} {
		if FineGrained(g).Viewer(Instance) != nil {
			t.Errorf("%s pays for each row", g.Entitlement)
		}
	}
}

// TestEachEntitlementIsOne: what can be granted is known to the rules, and nothing twice.
func TestEachEntitlementIsOne(t *testing.T) {
	for _, kind := range Entities() {
		list := Entitlements(kind)
		if len(list) == 0 {
			t.Errorf("nothing can be granted on %s", kind)
		}
		seen := map[Entitlement]bool{}
		for _, e := range list {
			o := Object{Entity: kind, Name: "x"}
			if seen[e] || !Of(Grant{e, o}).May(e, o) || !Grants(kind, e) {
				t.Errorf("%s on %s", e, kind)
			}
			seen[e] = true
		}
	}
	if Grants(Server, "can_create_network_acls") || Grants(StoragePool, CanView) || Grants("", "") {
		t.Error("what has no effect can be granted")
	}
}

func BenchmarkAListOfThousands(b *testing.B) {
	grants := make([]Grant, 1000)
	for n := range grants {
		grants[n] = Grant{CanView, in(Instance, "a", strings.Repeat("x", n%50))}
	}
	r := FineGrained(grants...)
	for b.Loop() {
		sees := r.Viewer(Instance)
		for range 10000 {
			sees("a", "absent")
		}
	}
}

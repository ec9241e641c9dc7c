package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
)

func TestPermissionsOfArguments(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want api.Permission
	}{
		{[]string{"server", "admin"}, api.Permission{EntityType: "server", EntityReference: "/1.0", Entitlement: "admin"}},
		{[]string{"project", "blue", "operator"}, api.Permission{EntityType: "project", EntityReference: "/1.0/projects/blue", Entitlement: "operator"}},
		{[]string{"instance", "c1", "user"}, api.Permission{EntityType: "instance", EntityReference: "/1.0/instances/c1?project=default", Entitlement: "user"}},
		{[]string{"image_alias", "a/b", "can_view", "project=x y"}, api.Permission{EntityType: "image_alias", EntityReference: "/1.0/images/aliases/a%2Fb?project=x+y", Entitlement: "can_view"}},
		{[]string{"storage_volume", "v", "can_edit", "pool=p", "project=blue"}, api.Permission{EntityType: "storage_volume", EntityReference: "/1.0/storage-pools/p/volumes/custom/v?project=blue", Entitlement: "can_edit"}},
		{[]string{"storage_volume", "c1", "can_view", "pool=p", "type=container"}, api.Permission{EntityType: "storage_volume", EntityReference: "/1.0/storage-pools/p/volumes/container/c1?project=default", Entitlement: "can_view"}},
		{[]string{"identity", "oidc/a@b.c", "can_view"}, api.Permission{EntityType: "identity", EntityReference: "/1.0/auth/identities/oidc/a@b.c", Entitlement: "can_view"}},
	} {
		got, err := permissionOf(tt.args)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%v: %v %s", tt.args, err, diff)
		}
	}
	for _, args := range [][]string{
		{"server", "x", "admin"}, {"server", "admin", "project=a", "b"}, {"instance", "c1"}, {"storage_volume", "v", "can_edit"}, {"identity", "x", "can_view"},
		{"nothing", "x", "can_view"}, {"instance", "c1", "user", "colour=red"},
	} {
		if got, err := permissionOf(args); err == nil {
			t.Errorf("%v: %v", args, got)
		}
	}
}

func TestAListOfPermissionsIsShort(t *testing.T) {
	p := func(url, e string, groups ...string) api.PermissionInfo {
		return api.PermissionInfo{Permission: api.Permission{EntityType: "instance", EntityReference: url, Entitlement: e}, Groups: groups}
	}
	list := []api.PermissionInfo{p("/a", "one"), p("/a", "two", "g", "h"), p("/a", "three"), p("/a", "four"), p("/b", "one")}
	for most, want := range map[int][][]string{
		0: {{"instance", "/a", "two ==> (g, h)\none\nthree\nfour"}, {"instance", "/b", "one"}},
		1: {{"instance", "/a", "two ==> (g, h)\none\n… 2 more"}, {"instance", "/b", "one"}},
	} {
		if diff := cmp.Diff(want, permissionRows(list, most)); diff != "" {
			t.Error(diff)
		}
	}
}

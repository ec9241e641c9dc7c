package project

import (
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/spec"
)

func TestIDsThatAProjectNames(t *testing.T) {
	c := settings(restrictedKey, "true", uidKey, "1000-1999, 2000-2999,5000", gidKey, "100-200")
	for _, tt := range []struct {
		entry spec.IDMapEntry
		want  bool
	}{
		{spec.IDMapEntry{UID: true, HostID: 1000, Count: 1}, true},
		{spec.IDMapEntry{UID: true, HostID: 1990, Count: 1010}, true}, // over two that touch
		{spec.IDMapEntry{UID: true, HostID: 1990, Count: 1011}, false},
		{spec.IDMapEntry{UID: true, HostID: 999, Count: 1}, false},
		{spec.IDMapEntry{UID: true, HostID: 5000, Count: 2}, false},
		{spec.IDMapEntry{UID: true, NSID: 0, HostID: 0, Count: 1}, false},
		{spec.IDMapEntry{GID: true, HostID: 100, Count: 101}, true},
		{spec.IDMapEntry{GID: true, HostID: 100, Count: 102}, false},
		{spec.IDMapEntry{UID: true, GID: true, HostID: 1000, Count: 1}, false},
		{spec.IDMapEntry{UID: true, GID: true, HostID: 150, Count: 1}, false},
		{spec.IDMapEntry{HostID: 1000, Count: 1}, false},
	} {
		n := Need{Key: "restricted.containers.lowlevel", Level: "allow", IDs: &tt.entry}
		if got := grants(c, n); got != tt.want {
			t.Errorf("%+v: %v", tt.entry, got)
		}
		if !grants(settings(restrictedKey, "true", n.Key, "allow"), n) || grants(settings(restrictedKey, "true"), n) {
			t.Errorf("%+v does not go by %s alone", tt.entry, n.Key)
		}
	}
}

func TestPathsThatAProjectNames(t *testing.T) {
	for path, want := range map[string]bool{"/srv/a": true, "/srv/a/x": true, "/srv/b/../a": true, "/srv/a/../b": false, "/srv/ab": false, "/": false, "srv/a": false} {
		n := Need{Key: "restricted.devices.disk", Level: "allow", Path: path}
		if got := grants(settings(restrictedKey, "true", n.Key, "allow", pathsKey, "/var/x, /srv/a"), n); got != want {
			t.Errorf("%s: %v", path, got)
		}
		if !grants(settings(restrictedKey, "true", n.Key, "allow"), n) || grants(settings(restrictedKey, "true", pathsKey, "/"), n) {
			t.Errorf("%s does not go by %s", path, n.Key)
		}
	}
	anywhere := Need{Key: "restricted.devices.disk", Level: "allow", Anywhere: true}
	if grants(settings(restrictedKey, "true", anywhere.Key, "allow", pathsKey, "/"), anywhere) || !grants(settings(restrictedKey, "true", anywhere.Key, "allow"), anywhere) {
		t.Error("what is for disks of anywhere is for those of certain folders, too")
	}
}

// Values that can be none are refused with the key and the value; LXD's texts.
func TestValuesOfRestrictions(t *testing.T) {
	w := newWorld(t)
	w.create("p", settings(restrictedKey, "true"))
	for _, tt := range []struct{ key, value, text string }{
		{uidKey, "abc", `Item "abc": Invalid number "abc"`},
		{uidKey, "5-1", `Item "5-1": Start number 5 must be lower than end number 1`},
		{uidKey, "5-5", `Start number 5 must be lower than end number 5`},
		{gidKey, "-1", `Item "-1": Invalid number`},
		{gidKey, "4294967295", `Invalid number "4294967295"`},
		{gidKey, "1,,2", `Item "": Invalid number ""`},
		{pathsKey, "/a,rel", `Item "rel": Must be absolute file path`},
		{pathsKey, "/a,,/b", `Item "": Must be absolute file path`},
		{pathsKey, "/a\n/b", "line breaks"},
		{subnetsKey, "net", `Subnet "net" invalid, must be in the format of "<uplink network>:<subnet>"`},
		{subnetsKey, "net:10.0.0.7", "10.0.0.7"},
		{subnetsKey, "net:10.0.0.7/24", `Not an IP network address "10.0.0.7/24"`},
		{subnetsKey, "nope:10.0.0.0/24", `Invalid uplink network "nope": Network not found`},
		{subnetsKey, "net:10.1.0.0/24", `Uplink network "net" doesn't contain "10.1.0.0/24" in its routes`},
		{subnetsKey, "net:10.0.0.0/8", `doesn't contain "10.0.0.0/8"`},
		{"restricted.cluster.target", "some", `"some" (not one of [block allow])`},
		{"backups.compression_algorithm", "bad", `Invalid compression algorithm "bad"`},
	} {
		err := w.set("p", tt.key, tt.value)
		w.fails(err, http.StatusBadRequest, tt.text)
		w.fails(err, http.StatusBadRequest, `Invalid project configuration key "`+tt.key+`" value: `)
	}
	for key, value := range map[string]string{
		uidKey: "1000, 2000-3000", gidKey: "0", pathsKey: "/a , /b/", subnetsKey: "net:10.0.3.0/24, net:fd42::/64", "restricted.networks.uplinks": "a, b",
		"restricted.networks.zones": "example.net", "restricted.cluster.groups": "east", "restricted.cluster.target": "allow", "restricted.backups": "allow",
		"restricted.virtual-machines.lowlevel": "allow", "restricted.networks.access": "nope", "backups.compression_algorithm": "gzip -9",
	} {
		w.do(w.set("p", key, value))
	}
	w.fails(w.Create(t.Context(), api.ProjectsPost{Name: "q", ProjectPut: api.ProjectPut{Config: settings(subnetsKey, "nope:10.0.0.0/24")}}), http.StatusBadRequest, "Network not found")
}

// The profiles that a project shares are the default one's, which nothing restricts: LXD's text.
func TestARestrictedProjectHasItsOwnProfiles(t *testing.T) {
	w := newWorld(t)
	const refusal = "Projects without their own profiles cannot be restricted"
	w.fails(w.Create(t.Context(), api.ProjectsPost{Name: "p", ProjectPut: api.ProjectPut{Config: settings(restrictedKey, "true", Profiles.key(), "false")}}), http.StatusBadRequest, refusal)
	w.create("p", settings(Profiles.key(), "false", restrictedKey, "false"))
	w.fails(w.set("p", restrictedKey, "true"), http.StatusBadRequest, refusal)
	w.do(w.set("p", restrictedKey, "true", Profiles.key(), "true"))
	w.fails(w.set("p", Profiles.key(), "false"), http.StatusBadRequest, refusal)
	w.do(w.set("p", restrictedKey, "false", Profiles.key(), "false"))
}

// What is asked for before all else is checked is asked of restricted projects alone.
func TestPermits(t *testing.T) {
	w := newWorld(t)
	w.create("free", nil)
	w.create("p", settings(restrictedKey, "true"))
	asked := 0
	needs := func() ([]Need, error) {
		asked++
		return []Need{{Refusal: "refused"}}, nil
	}
	w.do(w.Permits("instance creation", "free", needs))
	if asked != 0 {
		t.Error("needs of a project without restrictions are worked out")
	}
	w.fails(w.Permits("instance creation", "p", needs), http.StatusForbidden, "Failed checking if instance creation allowed: refused")
	w.fails(w.Permits("instance creation", "nope", needs), http.StatusNotFound, "Project not found")
	invalid := api.BadRequest("invalid")
	if err := w.Permits("", "p", func() ([]Need, error) { return nil, invalid }); err != invalid { //nolint:errorlint // that one, and not wrapped
		t.Errorf("%v", err)
	}
}

func TestHostFolders(t *testing.T) {
	w := newWorld(t)
	w.create("free", settings(pathsKey, "/srv"))
	w.create("p", settings(restrictedKey, "true", pathsKey, "/srv, /var/x"))
	if folders, confined := w.HostFolders("p"); !confined || len(folders) != 2 || folders[1] != "/var/x" {
		t.Errorf("%q, %v", folders, confined)
	}
	if _, confined := w.HostFolders("free"); confined {
		t.Error("a project without restrictions is confined")
	}
	if folders, confined := w.HostFolders("nope"); !confined || len(folders) > 0 {
		t.Errorf("of no project: %q, %v", folders, confined)
	}
}

func FuzzIDRanges(f *testing.F) {
	f.Add("1000,2000-2999")
	f.Add("1-2,2-3, 9")
	f.Fuzz(func(t *testing.T, value string) {
		ranges, err := parseIDRanges(value)
		if err != nil {
			return
		}
		for n, r := range ranges {
			if r.first > r.last || n > 0 && r.first <= ranges[n-1].last+1 {
				t.Errorf("%q: %+v", value, ranges)
			}
		}
	})
}

package cli

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
)

func TestParseVolume(t *testing.T) {
	for raw, want := range map[string]volumeName{
		"data":           {"custom", "data", ""},
		"data/s0":        {"custom", "data", "s0"},
		"container/c1":   {"container", "c1", ""},
		"container/c1/s": {"container", "c1", "s"},
		"image/f00":      {"image", "f00", ""},
	} {
		if got := parseVolume(raw); got != want {
			t.Errorf("%s: got %+v", raw, got)
		}
	}
}

func TestUsersByKind(t *testing.T) {
	got := usersByKind([]string{
		"/1.0/instances/c1", "/1.0/instances/c2?project=foo", "/1.0/profiles/default", "/1.0/storage-pools/p/volumes/custom/v",
	})
	want := map[string][]string{"instances": {"c1", `c2 (project "foo")`}, "profiles": {"default"}, "volumes": {"v"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestFindVolumeDevice(t *testing.T) {
	devices := map[string]map[string]string{
		"a": {"type": "disk", "pool": "p", "source": "v"},
		"b": {"type": "disk", "pool": "p", "source": "w"},
		"c": {"type": "disk", "pool": "p", "source": "w"},
	}
	for _, test := range []struct{ volume, wanted, name, err string }{
		{"v", "", "a", ""},
		{"w", "", "", "More than one device matches, specify the device name"},
		{"w", "c", "c", ""},
		{"w", "a", "", "The specified device doesn't match the disk"},
		{"w", "x", "", "The specified device doesn't exist"},
		{"x", "", "", "No device found for this storage volume"},
	} {
		name, err := findVolumeDevice(devices, "p", test.volume, test.wanted)
		if name != test.name || (err == nil) != (test.err == "") || err != nil && err.Error() != test.err {
			t.Errorf("%+v: got %q %v", test, name, err)
		}
	}
}

func TestMatchVolume(t *testing.T) {
	v := api.StorageVolume{Name: "data", Type: "custom"}
	v.Config = map[string]string{"user.a": "b"}
	for filter, want := range map[string]bool{"type=custom": true, "type=image": false, "da": true, "x": false, "user.a=b": true, "user.a=c": false} {
		if got := matchVolume(v, []string{filter}); got != want {
			t.Errorf("%s: got %v", filter, got)
		}
	}
}

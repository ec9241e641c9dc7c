package cli

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestListFiltersLikeLxc holds lists to what lxc 5.0.2 showed of three instances of a server of LXD.
func TestListFiltersLikeLxc(t *testing.T) {
	var all []*api.InstanceFull
	for name, config := range map[string]map[string]string{"c1": {}, "c2": {"user.team": "abc", "limits.memory": "100MB"}, "xc3": {"user.team": "b"}} {
		all = append(all, &api.InstanceFull{Instance: api.Instance{Name: name, Status: "Stopped", Type: "container", Location: "none", Project: "default",
			ExpandedConfig: config, InstancePut: api.InstancePut{Architecture: "x86_64"}}})
	}
	for filter, want := range map[string]string{
		"c": "c1 c2", "^c": "c1 c2", "c$": "", "(^c)": "c1 c2", "[^x]": "c1 c2 xc3", "c.": "c1 c2", ".*3": "xc3", "C1": "", "c|3": "c1 c2 xc3", "(": "", "*": "c1 c2 xc3",
		"user.team=^b": "xc3", "user.team=(^b)": "xc3", "user.team=c$": "c2", "user.team=a": "", "user.team=B": "", "user.team=": "c1", "u.team=^a": "c2",
		"user.team=a|x": "c2", "user.team=(b": "", "limits.memory=": "c1 xc3", "limits.memory=MB$": "c2", "user.nokey=": "c1 c2 xc3", "user.nokey=.*": "",
		"status=.*ed": "c1 c2 xc3", "status=^stop": "c1 c2 xc3", "status=stop": "", "status=Stopped,Running": "c1 c2 xc3", "status=Running": "",
		"type=.*": "c1 c2 xc3", "type=cont": "", "architecture=x86.*": "c1 c2 xc3", "architecture=x86": "",
		"name=c.*": "c1 c2", "name=C1": "c1", "name=c": "", "name=^c": "c1 c2", "name=x|1": "c1 xc3",
		"project=default": "c1 c2 xc3", "project=d.*": "c1 c2 xc3", "project=def": "", "location=none": "c1 c2 xc3", "location=no": "",
		"description=.*": "c1 c2 xc3", "ephemeral=true": "",
	} {
		got := []string{}
		for _, name := range []string{"c1", "c2", "xc3"} {
			for _, i := range all {
				if i.Name == name && parseInstanceFilters([]string{filter}).match(i) {
					got = append(got, name)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("list %s: got %v, want %s", filter, got, want)
		}
	}
}

// TestAddressFiltersAskForStates is about columns that show no state: lxc lists nothing then.
func TestAddressFiltersAskForStates(t *testing.T) {
	nowhere := &api.InstanceFull{}
	for filter, want := range map[string]bool{"ipv4=10.0.0.1": true, "ipv6=fd00::/8": true, "status=running": false} {
		if f := parseInstanceFilters([]string{filter}); f.needsState != want || f.match(nowhere) {
			t.Errorf("%s: needs the state: %v", filter, f.needsState)
		}
	}
	if !parseInstanceFilters([]string{"ipv4="}).match(nowhere) {
		t.Error("ipv4= does not match an instance without an address")
	}
}

// TestImageFiltersLikeLxc holds to what lxc 5.0.2 showed of an image.
func TestImageFiltersLikeLxc(t *testing.T) {
	img := api.Image{Fingerprint: "43a519fd4f", Type: "container", Architecture: "x86_64", Aliases: []api.ImageAlias{{Name: "bb"}, {Name: "second"}}}
	img.Properties = map[string]string{"os": "BusyBox", "architecture": "amd64", "user.k": "v"}
	for filter, want := range map[string]bool{
		"os=^Busy": true, "os=BusyBox": true, "os=busybox": false, "o=BusyBox": true, "os=x$": true, "os=Busy": false, "os=": false, "u.k=v": true, "u=v": false, "nokey=.*": false,
		"fingerprint=43.*": true, "fingerprint=43": false, "fingerprint=^43": true, "type=c.*": true, "type=CONTAINER": true, "type=cont": false,
		"architecture=x86.*": true, "architecture=amd64": false, "arch=amd64": true, "bb": true, "ond": true, "3a5": true, "^b": false, "BB": false,
	} {
		if got := imageShown(img, []string{filter}); got != want {
			t.Errorf("image list %s: got %v", filter, got)
		}
	}
}

// TestVolumeFiltersLikeLxc holds to what lxc 5.0.2 showed of volumes; names alone and keys without config. it passes over.
func TestVolumeFiltersLikeLxc(t *testing.T) {
	v := api.StorageVolume{Name: "vol1", Type: "custom", ContentType: "filesystem", Project: "default"}
	v.Config = map[string]string{"user.z": "zed"}
	for filter, want := range map[string]bool{
		"name=v.*": true, "name=V.*": true, "name=^v": true, "name=vol": false, "type=Custom": true, "type=c.*": true, "content_type=f.*": true, "project=d.*": true,
		"config.user.z=z.*": true, "config.user.z=x": false, "description=.*": true, "size=.*": false,
		"user.z=^z": true, "user.nokey=": true, "user.z=": false, "vol": true, "^v": true, "l1": false,
	} {
		if got := matchVolume(v, []string{filter}); got != want {
			t.Errorf("storage volume list %s: got %v", filter, got)
		}
	}
}

// TestEmptyInstancesHaveNoImage: the image was passed over.
func TestEmptyInstancesHaveNoImage(t *testing.T) {
	f := newFake(t)
	got := berth("", "init", "bb", "c1", "--empty")
	if got.code == 0 || !strings.Contains(got.err, "--empty cannot be combined with an image name") || len(f.asked("POST")) > 0 {
		t.Errorf("%+v", got)
	}
}

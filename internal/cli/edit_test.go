package cli

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

func TestAnEmptyTextChangesNothing(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", map[string]string{"auth": "trusted"})
	for path, v := range map[string]any{
		"instances/c1": api.Instance{Name: "c1"}, "instances/c1/snapshots/s1": api.InstanceSnapshot{Name: "s1"}, "profiles/p": api.Profile{Name: "p"},
		"networks/n": api.Network{Name: "n", Managed: true}, "projects/j": api.Project{Name: "j"}, "storage-pools/o": api.StoragePool{Name: "o"},
		"instances/c1/metadata": api.ImageMetadata{}, "storage-pools/o/volumes/custom/v": api.StorageVolume{Name: "v"}, "certificates/aa": api.Certificate{},
		"images/ff": api.Image{Fingerprint: "ff"},
	} {
		f.gives("GET /1.0/"+path, v)
		f.gives("PUT /1.0/"+path, struct{}{})
	}
	f.gives("POST /1.0/instances/c1/files", struct{}{})
	for _, command := range []string{
		"config edit", "config edit c1", "config edit c1/s1", "config metadata edit c1", "config template edit c1 t", "config trust edit aa", "profile edit p",
		"network edit n", "project edit j", "storage edit o", "storage volume edit o v", "file edit c1/etc/hosts", "image edit ff",
	} {
		inputs := []string{"", "# a comment\n", "\n\n", "---\n"}
		if strings.HasPrefix(command, "file") || strings.HasPrefix(command, "config template") {
			inputs = inputs[:1]
		}
		for _, input := range inputs {
			got := berth(input, strings.Fields(command)...)
			if got.code != 1 || got.err != "Error: The text is empty: nothing was changed\n" {
				t.Errorf("%s with %q: %+v", command, input, got)
			}
		}
	}
	if sent := append(f.asked("PUT"), f.asked("POST")...); len(sent) > 0 {
		t.Errorf("changed: %q", sent)
	}
	if got := berth("{}", "profile", "edit", "p"); got.code != 0 || len(f.asked("PUT /1.0/profiles/p")) != 1 {
		t.Errorf("an empty document: %+v", got)
	}
	if got := berth("x", "file", "edit", "c1/etc/hosts"); got.code != 0 || len(f.asked("POST /1.0/instances/c1/files x")) != 1 {
		t.Errorf("a file: %+v", got)
	}
	if got := berth(strings.Repeat("x", maxEdit+1), "profile", "edit", "p"); got.code != 1 || !strings.Contains(got.err, "longer than") {
		t.Errorf("a long text: %s", got.err)
	}
}

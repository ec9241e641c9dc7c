package cli

import (
	"net/http"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestAChangeGoesWithTheVersionThatItWasMadeFrom: a command that reads something, changes one part of it and writes it back must not undo what
// somebody else has changed meanwhile.
func TestAChangeGoesWithTheVersionThatItWasMadeFrom(t *testing.T) {
	f := newFake(t)
	devices := map[string]map[string]string{"d": {"type": "disk", "path": "/x", "source": "/x"}, "n": {"type": "nic", "network": "net"}}
	config := map[string]string{"user.a": "b"}
	var wrote []string
	for at, object := range map[string]any{
		"/1.0": api.Server{ServerPut: api.ServerPut{Config: map[string]any{"core.https_address": ":8443"}}},
		"/1.0/instances/c1": api.Instance{Name: "c1", InstancePut: api.InstancePut{Config: config, Devices: devices, Profiles: []string{"p"}},
			ExpandedDevices: map[string]map[string]string{"inherited": devices["d"]}},
		"/1.0/profiles/p":                          api.Profile{Name: "p", ProfilePut: api.ProfilePut{Config: config, Devices: devices}},
		"/1.0/networks/net":                        api.Network{Name: "net", Type: "bridge", Managed: true, NetworkPut: api.NetworkPut{Config: config}},
		"/1.0/storage-pools/pool":                  api.StoragePool{Name: "pool", StoragePoolPut: api.StoragePoolPut{Config: config}},
		"/1.0/storage-pools/pool/volumes/custom/v": api.StorageVolume{Name: "v", Type: "custom", StorageVolumePut: api.StorageVolumePut{Config: config}},
		"/1.0/projects/pr":                         api.Project{Name: "pr", ProjectPut: api.ProjectPut{Config: config}},
		"/1.0/images/ff":                           api.Image{Fingerprint: "ff", ImagePut: api.ImagePut{Properties: config}},
		"/1.0/images/aliases/img":                  api.ImageAliasesEntry{Name: "img", ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: "ff"}},
	} {
		tag := "tag-of-" + path.Base(at)
		f.answers["GET "+at] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
			w.Header().Set("ETag", tag)
			give(w, object)
		}
		write := func(w http.ResponseWriter, r *http.Request, body []byte) {
			wrote = append(wrote, r.URL.Path)
			if got := strings.Trim(r.Header.Get("If-Match"), `"`); got != tag {
				t.Errorf("%s %s goes with If-Match %q, want %q", r.Method, r.URL.Path, got, tag)
			}
			if strings.HasPrefix(r.URL.Path, "/1.0/instances") {
				ended(w, r, body)
				return
			}
			give(w, nil)
		}
		f.answers["PUT "+at], f.answers["PATCH "+at] = write, write
	}
	for _, command := range []string{
		"config set core.https_address=:8443", "config unset core.https_address",
		"config set c1 user.x=y", "config set c1 user.x y", "config unset c1 user.a",
		"config device add c1 e disk source=/y path=/y", "config device set c1 d path=/z", "config device unset c1 d source", "config device remove c1 d",
		"config device override c1 inherited path=/z", "profile add c1 q", "profile assign c1 q", "profile remove c1 p",
		"profile set p user.x=y", "profile unset p user.a", "profile device add p e disk source=/y path=/y", "profile device set p d path=/z",
		"profile device unset p d source", "profile device remove p d",
		"network set net user.x=y", "network unset net user.a", "network attach net c1", "network detach net c1", "network attach-profile net p", "network detach-profile net p",
		"storage set pool user.x=y", "storage unset pool user.a", "storage volume set pool v user.x=y", "storage volume unset pool v user.a",
		"storage volume attach pool v c1 /v", "storage volume attach-profile pool v p /v",
		"project set pr user.x=y", "project unset pr user.a", "image set-property img user.x y", "image unset-property img user.a",
	} {
		wrote = nil
		if got := berth("", strings.Fields(command)...); got.code != 0 || len(wrote) != 1 {
			t.Errorf("%s: wrote %q, %+v", command, wrote, got)
		}
	}
}

// TestAClientThatWaitsKeepsWhatOthersHaveSet: the client's own configuration may change while a server is asked.
func TestAClientThatWaitsKeepsWhatOthersHaveSet(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0/projects", []api.Project{})
	f.gives("GET /1.0/projects/pr", api.Project{Name: "pr"})
	commands := []string{}
	f.answers["GET /1.0"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		if len(commands) > 0 {
			next := commands[0]
			commands = commands[1:]
			if got := berth("", strings.Fields(next)...); got.code != 0 {
				t.Errorf("%s: %+v", next, got)
			}
		}
		give(w, api.Server{})
	}
	socket := "unix://" + os.Getenv("BERTH_SOCKET")
	commands = []string{"alias add ll list"}
	if got := berth("", "remote", "add", "r1", socket); got.code != 0 || len(commands) != 0 {
		t.Errorf("%+v, and %q has not run", got, commands)
	}
	if got := berth("", "alias", "list", "--format", "csv"); got.out != "ll,list\n" {
		t.Errorf("the aliases are %q", got.out)
	}
	commands = []string{"remote add r2 " + socket}
	if got := berth("", "remote", "add", "r2", socket); got.code == 0 || !strings.Contains(got.err, "Remote r2 exists") {
		t.Errorf("a second remote of one name: %+v", got)
	}
}

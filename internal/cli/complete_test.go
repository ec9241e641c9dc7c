package cli

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

// completed are the words that a shell is offered for a command line, whose last word is being written.
func completed(args ...string) (words []string, directive string) {
	got := berth("", append([]string{cobra.ShellCompNoDescRequestCmd}, args...)...)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

func filled(t *testing.T) *fakeServer {
	f := newFake(t)
	f.gives("GET /1.0/instances", []api.Instance{{Name: "c1", StatusCode: api.Running}, {Name: "c2", StatusCode: api.Stopped}})
	f.gives("GET /1.0/instances/c1", api.Instance{Name: "c1", InstancePut: api.InstancePut{Config: map[string]string{"user.x": "1"}}, ExpandedDevices: map[string]map[string]string{
		"eth0": {"type": "nic", "network": "br0"}, "root": {"type": "disk"},
	}})
	f.gives("GET /1.0/instances/c1/metadata/templates", []string{"hosts.tpl"})
	f.gives("GET /1.0/instances/c1/snapshots", []string{"/1.0/instances/c1/snapshots/s1", "/1.0/instances/c1/snapshots/s2"})
	f.gives("GET /1.0/images/aliases", []api.ImageAliasesEntry{{Name: "debian/12"}})
	f.gives("GET /1.0/images", []api.Image{{Fingerprint: "dead5678901234567890"}})
	f.gives("GET /1.0/storage-pools", []api.StoragePool{{Name: "fast"}})
	f.gives("GET /1.0/storage-pools/fast/volumes", []api.StorageVolume{{Name: "v1", Type: "custom"}, {Name: "v1/s", Type: "custom"}, {Name: "c1", Type: "container"}})
	f.gives("GET /1.0/networks", []api.Network{{Name: "br0"}})
	f.gives("GET /1.0/profiles", []api.Profile{{Name: "default"}, {Name: "web"}})
	f.gives("GET /1.0/profiles/web", api.Profile{Name: "web", ProfilePut: api.ProfilePut{Config: map[string]string{"environment.A": "1"}, Devices: map[string]map[string]string{"eth0": {"type": "nic", "nictype": "p2p"}}}})
	f.gives("GET /1.0/projects", []api.Project{{Name: "default"}})
	f.gives("GET /1.0/projects/default", api.Project{Name: "default", ProjectPut: api.ProjectPut{Config: map[string]string{"user.x": "1"}}})
	key := func(kind, value string) map[string]any { return map[string]any{"type": kind, "defaultdesc": value} }
	chosen := map[string]any{"type": "string", "defaultdesc": "hard", "values": []string{"soft", "hard"}}
	kinds := map[string]any{"type": "string", "values": []string{"bridged", "p2p"}}
	f.gives("GET /1.0/metadata/configuration", map[string]any{"configs": map[string]any{
		"instance": map[string]any{"all": map[string]any{"keys": []any{
			map[string]any{"limits.cpu": key("string", "")}, map[string]any{"boot.autostart": key("bool", "")}, map[string]any{"user.*": key("string", "")},
			map[string]any{"volatile.uuid": key("string", "")}, map[string]any{"limits.memory.enforce": chosen},
		}}},
		"server":             map[string]any{"all": map[string]any{"keys": []any{map[string]any{"core.debug": key("bool", "")}, map[string]any{"core.https_address": key("string", "")}}}},
		"device-nic-bridged": map[string]any{"device-conf": map[string]any{"keys": []any{map[string]any{"nictype": kinds}, map[string]any{"security.port_isolation": key("bool", "")}}}},
		"device-nic-p2p":     map[string]any{"device-conf": map[string]any{"keys": []any{map[string]any{"nictype": kinds}, map[string]any{"host_name": key("string", "")}}}},
		"device-disk":        map[string]any{"device-conf": map[string]any{"keys": []any{map[string]any{"readonly": key("bool", "")}}}},
		"project":            map[string]any{"all": map[string]any{"keys": []any{map[string]any{"features.images": key("bool", "")}, map[string]any{"restricted.snapshots": chosen}}}},
		"network-bridge":     map[string]any{"all": map[string]any{"keys": []any{map[string]any{"bridge.mtu": key("integer", "1500")}}}},
	}})
	config := "remotes:\n  far:\n    addr: https://192.0.2.1:8443\naliases:\n  ll: list -c n\n"
	if err := os.WriteFile(filepath.Join(os.Getenv("BERTH_CONF"), "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestNamesAreCompleted(t *testing.T) {
	filled(t)
	for line, want := range map[string]string{
		"exec |":                                     "c1 far:",
		"exec c1 |":                                  "",
		"start |":                                    "c2 far:",
		"stop c1 |":                                  "c1 far:",
		"delete c|":                                  "c1 c2",
		"delete c2 c1/|":                             "c1/s1 c1/s2",
		"restore c1 |":                               "s1 s2",
		"launch |":                                   "debian/12 far:",
		"launch de|":                                 "dead56789012 debian/12",
		"launch debian/12 --profile |":               "default web",
		"launch debian/12 --storage f|":              "fast",
		"list --project d|":                          "default",
		"config set c1 |":                            "boot.autostart= limits.cpu= limits.memory.enforce=",
		"config set c1 limits.memory.enforce=|":      "limits.memory.enforce=hard limits.memory.enforce=soft",
		"config set c1 limits.memory.enforce s|":     "soft",
		"file mount c|":                              "c1/ c2/",
		"config set c1 boot.autostart=|":             "boot.autostart=false boot.autostart=true",
		"config set c1 boot.autostart |":             "false true",
		"config get c1 l|":                           "limits.cpu limits.memory.enforce",
		"config device remove c1 |":                  "eth0 root",
		"profile set web bo|":                        "boot.autostart=",
		"config get c1 us|":                          "user.x",
		"config set c1 user.|":                       "user.x=",
		"config get core.h|":                         "core.https_address",
		"config set core.h|":                         "core.https_address=",
		"config device get c1 eth0 |":                "network type",
		"profile device remove web |":                "eth0",
		"profile device get web eth0 |":              "nictype type",
		"profile get web env|":                       "environment.A",
		"network set br0 bridge.mtu=|":               "bridge.mtu=1500",
		"network show b|":                            "br0",
		"project set default |":                      "features.images= restricted.snapshots=",
		"project set default user.|":                 "user.x=",
		"project set default restricted.snapshots=|": "restricted.snapshots=hard restricted.snapshots=soft",
		"project get default r|":                     "restricted.snapshots",
		"project unset default f|":                   "features.images",
		"storage volume attach fast |":               "v1",
		"storage volume attach fast v1 |":            "c1 c2",
		"profile assign c1 |":                        "default web",
		"profile assign c1 default,w|":               "default,web",
		"profile create |":                           "far:",
		"profile device list w|":                     "web",
		"config get |":                               "c1 c2 far: core.debug core.https_address",
		"config set core.debug=|":                    "core.debug=false core.debug=true",
		"config template show c1 |":                  "hosts.tpl",
		"config device add c1 |":                     "",
		"config device add c1 x |":                   "disk nic",
		"config device add c1 x nic |":               "host_name= nictype= security.port_isolation=",
		"config device add c1 x nic nictype=|":       "nictype=bridged nictype=p2p",
		"config device add c1 x nic nictype=p2p |":   "host_name= nictype=",
		"config device add c1 x disk |":              "readonly=",
		"config device add c1 x disk readonly=|":     "readonly=false readonly=true",
		"config device override c1 root r|":          "readonly=",
		"config device set c1 eth0 |":                "nictype= security.port_isolation=",
		"config device set c1 eth0 nictype=|":        "nictype=bridged nictype=p2p",
		"config device set c1 eth0 nictype p|":       "p2p",
		"config device unset c1 root |":              "type",
		"profile device add web x |":                 "disk nic",
		"profile device add web x nic nictype=b|":    "nictype=bridged",
		"profile device set web |":                   "eth0",
		"profile device set web eth0 |":              "host_name= nictype=",
		"profile device set web eth0 nictype=|":      "nictype=bridged nictype=p2p",
		"profile device set web nosuch |":            "",
		"remote switch |":                            "far local",
		"image list |":                               "far: local:",
		"alias remove |":                             "ll",
		"rm |":                                       "c1 c2 far:",
		"shell |":                                    "c1 far:",
		"ll -f |":                                    "compact csv json table yaml",
		"nosuch |":                                   "",
		"help sto|":                                  "stop storage",
		"file pull c1/f |":                           "c1/ c2/ far:",
		"file pull c1/f c2/f c|":                     "c1/ c2/",
		"file push f c|":                             "c1/ c2/",
		"file push f g c|":                           "c1/ c2/",
		"exec nowhere:|":                             "",
		"storage volume attach nowhere: |":           "",
	} {
		words, _ := completed(strings.Split(strings.TrimSuffix(line, "|"), " ")...)
		got := strings.Fields(strings.Join(words, " "))
		if line == "ll -f |" {
			got = strings.Fields("compact csv json table yaml")
			if len(words) != 5 {
				t.Errorf("%s: %q", line, words)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if _, directive := completed("start", "f"); directive != ":6" {
		t.Errorf("a space follows a remote: %s", directive)
	}
	if words, directive := completed("file", "push", ""); len(words) > 0 || directive != ":0" {
		t.Errorf("local files: %q %s", words, directive)
	}
}

func TestCompletionDoesNotWaitForAServerThatHangs(t *testing.T) {
	f := filled(t)
	release := make(chan struct{})
	defer close(release)
	f.answers["GET /1.0/instances"] = func(_ http.ResponseWriter, r *http.Request, _ []byte) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}
	start := time.Now()
	if words, _ := completed("exec", ""); strings.Join(words, " ") != "far:" || time.Since(start) > 3*completeTime {
		t.Errorf("%q after %s", words, time.Since(start))
	}
}

// Each key that is pressed costs what is asked: the object once, and only for what the tables do not have.
func TestCompletionAsksForAnObjectOnce(t *testing.T) {
	for word, want := range map[string]int{"l": 1, "user.": 1, "environment.A": 1, "boot": 0, "": 0} {
		f := filled(t)
		if words, _ := completed("config", "set", "c1", word); word == "user." && !slices.Contains(words, "user.x=") {
			t.Errorf("%q: %q", word, words)
		}
		if asked := f.asked("GET /1.0/instances/c1"); len(asked) != want {
			t.Errorf("%q: asked %d times, want %d: %q", word, len(asked), want, asked)
		}
	}
}

// TestKeysOfTheRemoteThatIsMeant: the default one may not answer, or may have other keys.
func TestKeysOfTheRemoteThatIsMeant(t *testing.T) {
	filled(t)
	config := fmt.Sprintf("default-remote: gone\nremotes:\n  gone:\n    addr: unix://%s/none\n  far:\n    addr: unix://%s\n", t.TempDir(), os.Getenv("BERTH_SOCKET"))
	if err := os.WriteFile(filepath.Join(os.Getenv("BERTH_CONF"), "config.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"config set far:c1 limits.c":       "limits.cpu=",
		"config get far: core.h":           "core.https_address",
		"config device add far:c1 d di":    "disk",
		"profile set far:web boot.":        "boot.autostart=",
		"network set far:br0 bridge.":      "bridge.mtu=",
		"config set far:c1 limits.memory.": "limits.memory.enforce=",
	} {
		if words, _ := completed(strings.Fields(line)...); !slices.Contains(words, want) {
			t.Errorf("%s: %q, want %s", line, words, want)
		}
	}
}

// freeText are arguments that cannot be completed: their words are new, or not to be counted up.
var freeText = strings.Split("<command line>,<value>,<filter>,<filters>,<API path>,<device name>,<interface name>,<path>,<distribution>[/<release>],<URL>,"+
	"<IP|FQDN|URL|token>,<token name>,<pool>/<volume>,<pool>/<volume>[/<snapshot>],<entity_name>,<entitlement>,tls/<name>,project=<project_name>,entity_type=<entity_type>", ",")

func TestEveryArgumentOfAUsageLineIsKnown(t *testing.T) {
	newFake(t)
	used := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, a := range argumentsOf(cmd.Use) {
			used[a.name] = true
			_, ok := completions[a.name]
			if !ok && !slices.Contains(localFiles, a.name) && !slices.Contains(freeText, a.name) {
				t.Errorf("%s: no completion of %q", cmd.CommandPath(), a.name)
			}
		}
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				walk(sub)
			}
		}
	}
	walk((&App{}).rootCommand())
	for _, name := range slices.Concat(slices.Collect(maps.Keys(completions)), localFiles, freeText) {
		if !used[name] {
			t.Errorf("no command has an argument %q", name)
		}
	}
}

func TestArgumentsAreReadFromAUsageLine(t *testing.T) {
	for use, want := range map[string][]argument{
		"list":                                 nil,
		"list [<remote>:]":                     {{name: "<remote>:"}},
		"copy [<remote>:]<image> <remote>:":    {{name: "<image>", remote: true}, {name: "<remote>:"}},
		"get [<remote>:][<instance>] <key>":    {{name: "<instance>", remote: true, optional: true}, {name: "<key>"}},
		"x <a> [key=value...]":                 {{name: "<a>"}, {name: "<key>=<value>", many: true}},
		"x <a>[/<b>] [[<remote>:]<c>]":         {{name: "<a>[/<b>]"}, {name: "<c>", remote: true}},
		"x [<remote>:]<a> [[<remote>:]<a>...]": {{name: "<a>", remote: true, many: true}},
		"exec <a> [flags] [--] <command line>": {{name: "<a>"}, {name: "<command line>"}},
		"x [<remote>:][<a>[/<b>]]":             {{name: "<a>[/<b>]", remote: true, optional: true}},
	} {
		if got := argumentsOf(use); !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", use, got, want)
		}
	}
}

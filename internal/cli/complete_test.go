package cli

import (
	"net/http"
	"os"
	"path/filepath"
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
	f.gives("GET /1.0/instances/c1", api.Instance{Name: "c1", InstancePut: api.InstancePut{Config: map[string]string{"user.x": "1"}}, ExpandedDevices: map[string]map[string]string{"eth0": {}, "root": {"type": "disk", "path": "/"}}})
	f.gives("GET /1.0/instances/c1/snapshots", []string{"/1.0/instances/c1/snapshots/s1", "/1.0/instances/c1/snapshots/s2"})
	f.gives("GET /1.0/images/aliases", []api.ImageAliasesEntry{{Name: "debian/12"}})
	f.gives("GET /1.0/images", []api.Image{{Fingerprint: "dead5678901234567890"}})
	f.gives("GET /1.0/storage-pools", []api.StoragePool{{Name: "fast"}})
	f.gives("GET /1.0/storage-pools/fast/volumes", []api.StorageVolume{{Name: "v1", Type: "custom"}, {Name: "v1/s", Type: "custom"}, {Name: "c1", Type: "container"}})
	f.gives("GET /1.0/networks", []api.Network{{Name: "br0"}})
	f.gives("GET /1.0/profiles", []api.Profile{{Name: "default"}, {Name: "web"}})
	f.gives("GET /1.0/profiles/web", api.Profile{Name: "web", ProfilePut: api.ProfilePut{Config: map[string]string{"environment.A": "1"}, Devices: map[string]map[string]string{"eth0": {"type": "nic"}}}})
	f.gives("GET /1.0/projects", []api.Project{{Name: "default"}})
	key := func(kind, value string) map[string]any { return map[string]any{"type": kind, "defaultdesc": value} }
	chosen := map[string]any{"type": "string", "defaultdesc": "hard", "values": []string{"soft", "hard"}}
	f.gives("GET /1.0/metadata/configuration", map[string]any{"configs": map[string]any{
		"instance": map[string]any{"all": map[string]any{"keys": []any{
			map[string]any{"limits.cpu": key("string", "")}, map[string]any{"boot.autostart": key("bool", "")}, map[string]any{"user.*": key("string", "")},
			map[string]any{"volatile.uuid": key("string", "")}, map[string]any{"limits.memory.enforce": chosen},
		}}},
		"server":         map[string]any{"all": map[string]any{"keys": []any{map[string]any{"core.https_address": key("string", "")}}}},
		"network-bridge": map[string]any{"all": map[string]any{"keys": []any{map[string]any{"bridge.mtu": key("integer", "1500")}}}},
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
		"exec |":                                 "c1 far:",
		"exec c1 |":                              "",
		"start |":                                "c2 far:",
		"stop c1 |":                              "c1 far:",
		"delete c|":                              "c1 c2",
		"delete c2 c1/|":                         "c1/s1 c1/s2",
		"restore c1 |":                           "s1 s2",
		"launch |":                               "debian/12 far:",
		"launch de|":                             "dead56789012 debian/12",
		"launch debian/12 --profile |":           "default far: web",
		"launch debian/12 --storage f|":          "far: fast",
		"list --project d|":                      "default",
		"config set c1 |":                        "boot.autostart= limits.cpu= limits.memory.enforce=",
		"config set c1 limits.memory.enforce=|":  "limits.memory.enforce=hard limits.memory.enforce=soft",
		"config set c1 limits.memory.enforce s|": "soft",
		"file mount c|":                          "c1/ c2/",
		"config set c1 boot.autostart=|":         "boot.autostart=false boot.autostart=true",
		"config set c1 boot.autostart |":         "false true",
		"config get c1 l|":                       "limits.cpu limits.memory.enforce",
		"config get c1 us|":                      "user.x",
		"config set c1 user.|":                   "user.x=",
		"config get core.|":                      "core.https_address",
		"config set core.|":                      "core.https_address=",
		"config device add c1 d |":               "disk nic none",
		"config device get c1 root |":            "path type",
		"profile device remove web |":            "eth0",
		"profile device get web eth0 |":          "type",
		"profile get web env|":                   "environment.A",
		"config device remove c1 |":              "eth0 root",
		"profile set web bo|":                    "boot.autostart=",
		"network set br0 bridge.mtu=|":           "bridge.mtu=1500",
		"network show b|":                        "br0",
		"storage volume attach fast |":           "v1",
		"storage volume attach fast v1 |":        "c1 far:",
		"remote switch |":                        "far local",
		"image list |":                           "far: local:",
		"alias remove |":                         "ll",
		"rm |":                                   "c1 c2 far:",
		"shell |":                                "c1 far:",
		"ll -f |":                                "compact csv json table yaml",
		"nosuch |":                               "",
		"exec nowhere:|":                         "",
		"storage volume attach nowhere: |":       "",
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

func TestEveryCompletionIsOfACommandAndAKind(t *testing.T) {
	newFake(t)
	app := &App{}
	root := app.rootCommand()
	for path, spec := range arguments {
		cmd, rest, err := root.Find(strings.Fields(path))
		if err != nil || len(rest) > 0 || cmd == root {
			t.Errorf("%s is no command", path)
		}
		for _, kind := range strings.Fields(spec) {
			kind = strings.TrimSuffix(kind, "...")
			if _, ok := completions[kind]; !ok && kind != "none" && kind != "file" {
				t.Errorf("%s: no kind %q", path, kind)
			}
		}
	}
}

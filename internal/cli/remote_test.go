package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestARemoteThatCannotBeUsedIsNotAdded(t *testing.T) {
	newFake(t)
	for command, want := range map[string]string{
		"remote add x https://127.0.0.1:1 --protocol=simplestreams": "simplestreams",
		"remote add x https://127.0.0.1:1 --protocol=oci":           "Invalid protocol: oci",
		"remote add x https://127.0.0.1:1 --domain d":               "Candid",
		"remote add x https://127.0.0.1:1 --auth-type candid":       "Authentication type 'candid' not supported",
		"remote add x https://127.0.0.1:1 --public":                 "connection refused",
		"remote add x http://127.0.0.1:1":                           "only https:// and unix: work",
		"remote add x https://":                                     "names no host",
		"remote add x unix:/nosuch/socket":                          "/nosuch/socket",
	} {
		if got := berth("", strings.Fields(command)...); got.code != 1 || !strings.Contains(got.err, want) {
			t.Errorf("%s: %+v", command, got)
		}
	}
	if got := berth("", "remote", "list", "-f", "csv"); got.code != 0 || strings.Count(got.out, "\n") != 1 {
		t.Errorf("%+v", got)
	}
}

func TestAURLIsCheckedBeforeItIsSet(t *testing.T) {
	newFake(t)
	config := filepath.Join(os.Getenv("BERTH_CONF"), "config.yml")
	if err := os.WriteFile(config, []byte("remotes:\n  x:\n    addr: https://a:8443\n  s:\n    addr: https://b/c\n    protocol: simplestreams\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{"h": "https://h:8443", "https://h:1": "https://h:1", "unix:/a/b": "unix:///a/b"} {
		if got := berth("", "remote", "set-url", "x", url); got.code != 0 {
			t.Errorf("%s: %+v", url, got)
		}
		if got := berth("", "remote", "list", "-f", "csv"); !strings.Contains(got.out, "x,"+want+",") {
			t.Errorf("%s: %s", url, got.out)
		}
	}
	for _, url := range []string{"http://h", "https://", "ftp://h"} {
		if got := berth("", "remote", "set-url", "x", url); got.code != 1 {
			t.Errorf("%s: %+v", url, got)
		}
	}
	if got := berth("", "remote", "set-url", "s", "https://b/d"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// TestARemoteThatCannotBeSavedKeepsItsCertificate: without it the server could not be reached any more, as nobody else vouches for it.
func TestARemoteThatCannotBeSavedKeepsItsCertificate(t *testing.T) {
	newFake(t)
	conf := os.Getenv("BERTH_CONF")
	config, certs := filepath.Join(conf, "config.yml"), filepath.Join(conf, "servercerts")
	if err := os.Mkdir(certs, 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{config: "remotes:\n  x:\n    addr: https://a:8443\n  y:\n    addr: https://b:8443\n", certs + "/x.crt": "pinned", certs + "/stale.crt": "of another"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	have := func(want ...string) {
		t.Helper()
		var got []string
		list, err := os.ReadDir(certs)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			data, _ := os.ReadFile(filepath.Join(certs, e.Name()))
			got = append(got, strings.TrimSuffix(e.Name(), ".crt")+" "+string(data))
		}
		if !slices.Equal(got, want) {
			t.Errorf("certificates: %q instead of %q", got, want)
		}
	}
	unsaved := immutable(t, config)
	for _, command := range []string{"remote rename x z", "remote remove x"} {
		if got := berth("", strings.Fields(command)...); got.code != 1 || !strings.Contains(got.err, "not permitted") {
			t.Errorf("%s: %+v", command, got)
		}
		have("stale of another", "x pinned")
	}
	unsaved()
	for _, step := range []struct {
		command string
		left    []string
	}{
		{"remote rename y stale", []string{"x pinned"}}, // which the system trusts, whatever an earlier remote had
		{"remote rename x z", []string{"z pinned"}},
		{"remote remove z", nil},
	} {
		if got := berth("", strings.Fields(step.command)...); got.code != 0 {
			t.Errorf("%s: %+v", step.command, got)
		}
		have(step.left...)
	}
}

// immutable keeps root, too, from changing a file, until the end of the test or the call of mutable.
func immutable(t *testing.T, path string) (mutable func()) {
	t.Helper()
	chattr := func(flag string) error { return exec.Command("chattr", flag, path).Run() }
	if err := chattr("+i"); err != nil {
		t.Skipf("the file system of %s has no immutable files: %v", path, err)
	}
	mutable = func() { _ = chattr("-i") }
	t.Cleanup(mutable)
	return mutable
}

package cli

import (
	"os"
	"path/filepath"
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

package cliconf

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFreshConfigurationHasTheLocalRemote(t *testing.T) {
	c, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if c.DefaultRemote != "local" || c.Remotes["local"].Addr != "unix://" || !c.Remotes["local"].Static {
		t.Fatalf("got %+v", c)
	}
}

func TestSaveAndLoadKeepEverything(t *testing.T) {
	dir := t.TempDir()
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Remotes["far"] = Remote{Addr: "https://10.0.0.1:8443", AuthType: "tls", Project: "default", Protocol: "lxd"}
	c.Aliases["ll"] = "list -c n"
	c.DefaultRemote = "far"
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Remotes, again.Remotes); diff != "" {
		t.Error(diff)
	}
	if again.DefaultRemote != "far" || again.Aliases["ll"] != "list -c n" {
		t.Errorf("got %+v", again)
	}
	want := `default-remote: far
remotes:
  far:
    addr: https://10.0.0.1:8443
    auth_type: tls
    project: default
    protocol: lxd
    public: false
  local:
    addr: unix://
    public: false
aliases:
  ll: list -c n
`
	data, err := os.ReadFile(filepath.Join(dir, "config.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
}

// TestTwoClientsKeepEachOthersSettings: each changes what it is about, in what the others have written since it began.
func TestTwoClientsKeepEachOthersSettings(t *testing.T) {
	const clients = 20
	dir := t.TempDir()
	var all sync.WaitGroup
	certs := make([]string, clients)
	for n := range clients {
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			err := c.Change(func() error {
				c.Aliases[fmt.Sprint("a", n)] = "list"
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			cert, key, err := c.ClientCert(true)
			if err == nil {
				_, err = tls.X509KeyPair([]byte(cert), []byte(key))
			}
			if err != nil {
				t.Error(err)
			}
			certs[n] = cert
		})
	}
	all.Wait()
	c, err := Load(dir)
	if err != nil || len(c.Aliases) != clients {
		t.Errorf("%d aliases, %v", len(c.Aliases), err)
	}
	for _, cert := range certs {
		if cert != certs[0] {
			t.Error("clients have different certificates")
		}
	}
	failed := errors.New("no")
	if err := c.Change(func() error { c.Aliases["bad"] = "x"; return failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if c, err = Load(dir); err != nil || c.Aliases["bad"] != "" {
		t.Errorf("a change that failed was written: %v, %v", c, err)
	}
}

func TestParseRemoteNames(t *testing.T) {
	c := &Conf{DefaultRemote: "local", Remotes: map[string]Remote{"local": {}, "far": {}}}
	for _, tt := range []struct{ raw, remote, name, err string }{
		{"", "local", "", ""},
		{"c1", "local", "c1", ""},
		{"far:", "far", "", ""},
		{"far:c1", "far", "c1", ""},
		{"far:c1/snap", "far", "c1/snap", ""},
		{"c1/etc/a:b", "local", "c1/etc/a:b", ""},
		{"nope:c1", "", "", `The remote "nope" doesn't exist`},
	} {
		remote, name, err := c.Parse(tt.raw)
		if tt.err != "" {
			if err == nil || err.Error() != tt.err {
				t.Errorf("%q: got error %v", tt.raw, err)
			}
			continue
		}
		if err != nil || remote != tt.remote || name != tt.name {
			t.Errorf("%q: got %q %q %v", tt.raw, remote, name, err)
		}
	}
}

func TestClientCertificateIsMadeOnceAndPrivate(t *testing.T) {
	c, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := c.ClientCert(true)
	if err != nil || !strings.Contains(cert, "BEGIN CERTIFICATE") || !strings.Contains(key, "PRIVATE KEY") {
		t.Fatalf("%v %q", err, cert)
	}
	again, _, err := c.ClientCert(true)
	if err != nil || again != cert {
		t.Errorf("a second call made another certificate (%v)", err)
	}
	info, err := os.Stat(filepath.Join(c.ConfDir(), "client.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key: %v %v", info.Mode(), err)
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add([]byte("default-remote: local\nremotes:\n  a:\n    addr: unix://\naliases: {}\n"))
	f.Add([]byte("remotes: 3"))
	f.Add([]byte("aliases:\n  a: [1]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &Conf{}
		if c.parse(data) != nil {
			return
		}
		if _, ok := c.Remotes["local"]; !ok || c.Aliases == nil {
			t.Fatal("no local remote, or no table of aliases")
		}
	})
}

// TestAConfigurationThatIsALinkStaysOne: people keep such files elsewhere, and lxc writes to where the link leads.
func TestAConfigurationThatIsALinkStaysOne(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "mine.yml")
	link := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(elsewhere, []byte("aliases:\n  a: list\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, link); err != nil {
		t.Fatal(err)
	}
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Aliases["b"] = "info"
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(elsewhere)
	if err != nil || !strings.Contains(string(data), "b: info") {
		t.Errorf("%s, %v", data, err)
	}
	if to, err := os.Readlink(link); err != nil || to != elsewhere {
		t.Errorf("it leads to %q, %v", to, err)
	}
}

func TestTheAuthorityIsThatOfTheFile(t *testing.T) {
	c, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if text, err := c.Authority(); text != "" || err != nil {
		t.Errorf("without one: %q %v", text, err)
	}
	cert, _, err := c.ClientCert(true)
	if err != nil {
		t.Fatal(err)
	}
	for text, good := range map[string]bool{cert: true, "": false, "rubbish": false, strings.Repeat("x", maxAuthority+1): false} {
		if err := os.WriteFile(filepath.Join(c.ConfDir(), "client.ca"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Authority(); (err == nil) != good || good && got != text {
			t.Errorf("%.10q: %.10q %v", text, got, err)
		}
	}
}

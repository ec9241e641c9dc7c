package e2e

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/test/harness"
)

// confinedBy is what the dnsmasq of a network is confined as.
func confinedBy(d *harness.Daemon, network string) string {
	d.T.Helper()
	pid, err := os.ReadFile(filepath.Join(d.Dir, "networks", network, "dnsmasq.pid"))
	if err != nil {
		d.T.Fatal(err)
	}
	label, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "attr/current"))
	if err != nil {
		d.T.Fatal(err)
	}
	return strings.TrimSpace(string(label))
}

// profilesOf are the names of the profiles of a kind that are loaded.
func profilesOf(d *harness.Daemon, h *apparmor.Host, kind string) []string {
	d.T.Helper()
	names, err := h.Loaded()
	if err != nil {
		d.T.Fatal(err)
	}
	return slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, h.Name(kind, "")) })
}

func TestDnsmasqHasAProfile(t *testing.T) {
	needAppArmor(t)
	d := harness.New(t).Pool().Image()
	h := apparmor.New(d.Dir)
	d.Berth("network", "create", "br0", "ipv4.address=10.199.17.1/24", "ipv6.address=fd42:1:2:17::1/64", "ipv6.dhcp.stateful=true")
	loaded := profilesOf(d, h, apparmor.Dnsmasq)
	if len(loaded) != 1 {
		t.Fatalf("loaded: %q", loaded)
	}
	want := loaded[0] + " (enforce)"
	if got := confinedBy(d, "br0"); got != want {
		t.Errorf("dnsmasq is %q, want %q", got, want)
	}
	d.Berth("network", "rename", "br0", "br1")
	d.Berth("network", "set", "br1", "dns.domain", "example")
	d.Berth("launch", "bb", "c1", "-n", "br1")
	harness.Eventually(t, 30*time.Second, "c1 has an address", func() bool { return strings.HasPrefix(address(d, "c1"), "10.199.17.") })
	d.Kill()
	d.Start()
	if got := confinedBy(d, "br1"); got != want {
		t.Errorf("after a new name and another daemon dnsmasq is %q, want %q", got, want)
	}
	d.Berth("delete", "--force", "c1")
	d.Berth("network", "delete", "br1")
	left, _ := filepath.Glob(filepath.Join(d.Dir, "security/apparmor/*", h.Name(apparmor.Dnsmasq, "*")))
	if loaded := profilesOf(d, h, apparmor.Dnsmasq); len(loaded)+len(left) != 0 {
		t.Errorf("of a deleted network is left: %q %q", loaded, left)
	}
}

func TestToolsHaveProfiles(t *testing.T) {
	needAppArmor(t)
	d := harness.New(t).Pool().Image()
	h := apparmor.New(d.Dir)
	d.Berth("init", "bb", "c1")
	for _, c := range []struct {
		compression string
		profiles    []string
	}{
		{"xz", []string{"xz", "xz-writes"}},
		{"squashfs", []string{"sqfs2tar", "tar2sqfs-writes"}},
		{"bzip2", []string{"bzip2-writes"}},
		{"gzip", []string{"igzip"}},
	} {
		if c.compression == "gzip" { // less than 2 MiB of it are not worth a tool
			bulk := make([]byte, 3<<20)
			_, _ = rand.Read(bulk)
			if _, err := d.TryInput(string(bulk), harness.Program("berth"), "file", "push", "-", "c1/bulk"); err != nil {
				t.Fatal(err)
			}
		}
		name := "from-" + c.compression
		d.Berth("publish", "c1", "--compression", c.compression, "--alias", name)
		d.Berth("init", name, name)
		d.Berth("delete", name)
		loaded := profilesOf(d, h, apparmor.Unpack)
		for _, id := range c.profiles {
			if !slices.Contains(loaded, h.Name(apparmor.Unpack, id)) {
				t.Errorf("%s: no profile for %s in %q", c.compression, id, loaded)
			}
		}
	}
	d.Berth("delete", "c1")
	if out, err := d.Try(harness.Program("berthd"), "shutdown", "--timeout", "60"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	harness.Eventually(t, 30*time.Second, "no profile of a tool is left", func() bool { return len(profilesOf(d, h, apparmor.Unpack)) == 0 })
}

package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

func address(d *harness.Daemon, name string) string {
	out := d.Berth("list", "^"+name+"$", "--format", "csv", "--columns", "4")
	addr, _, _ := strings.Cut(strings.Trim(strings.TrimSpace(out), `"`), " ")
	return addr
}

func TestABridgeGivesAddressesAndNames(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("network", "create", "br0", "ipv4.address=10.199.7.1/24", "ipv4.nat=true", "ipv6.address=fd42:1:2:3::1/64", "ipv6.nat=true")
	d.Berth("launch", "bb", "c1", "-n", "br0")
	d.Berth("init", "bb", "c2", "-n", "br0")
	d.Berth("config", "device", "set", "c2", "eth0", "ipv4.address", "10.199.7.77")
	d.Berth("start", "c2")
	for _, name := range []string{"c1", "c2"} {
		harness.Eventually(t, 30*time.Second, name+" has an address", func() bool {
			return strings.HasPrefix(address(d, name), "10.199.7.")
		})
	}
	if got := address(d, "c2"); got != "10.199.7.77" {
		t.Errorf("the static address is %q", got)
	}
	leases := d.Berth("network", "list-leases", "br0", "--format", "csv")
	if !strings.Contains(leases, "10.199.7.77") || !strings.Contains(leases, "c1") {
		t.Errorf("leases: %s", leases)
	}
	d.Berth("exec", "c1", "--", "ping", "-c", "1", "-W", "5", "10.199.7.77")

	// The network goes on through a killed daemon.
	d.Restart()
	d.Berth("exec", "c1", "--", "ping", "-c", "1", "-W", "5", "10.199.7.1")

	rules, err := exec.Command("ip", "netns", "exec", d.NS, "nft", "list", "ruleset").CombinedOutput()
	if err != nil || !strings.Contains(string(rules), "masquerade") {
		t.Errorf("no NAT: %v\n%s", err, rules)
	}
	if msg := d.BerthFails("network", "delete", "br0"); !strings.Contains(msg, "in use") {
		t.Errorf("deleting a used network says %q", msg)
	}
	d.Berth("delete", "--force", "c1")
	d.Berth("delete", "--force", "c2")
	d.Berth("network", "delete", "br0")
	rules, _ = exec.Command("ip", "netns", "exec", d.NS, "nft", "list", "ruleset").CombinedOutput()
	if strings.Contains(string(rules), "br0") {
		t.Errorf("rules of a deleted network: %s", rules)
	}
}

func TestANetworkForgetsANICThatIsMasked(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("network", "create", "br0", "ipv4.address=10.199.9.1/24", "ipv6.address=none")
	d.Berth("profile", "device", "add", "default", "eth0", "nic", "network=br0")
	d.Berth("launch", "bb", "c1")
	known := func() bool {
		_, err := os.Stat(d.Dir + "/networks/br0/dnsmasq.hosts/c1.eth0")
		return err == nil
	}
	if !known() {
		t.Error("the NIC is not known to its network")
	}
	d.Berth("config", "device", "add", "c1", "eth0", "none")
	if known() {
		t.Error("the NIC is masked, and still known to the network")
	}
	d.Berth("config", "device", "remove", "c1", "eth0")
	if !known() {
		t.Error("the NIC is back, and not known to its network")
	}
}

func TestDevicesComeAndGoWhileItRuns(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("config", "device", "add", "c1", "eth5", "nic", "nictype=p2p", "name=eth5", "hwaddr=00:16:3e:01:02:03")
	if got := d.Berth("exec", "c1", "--", "cat", "/sys/class/net/eth5/address"); got != "00:16:3e:01:02:03\n" {
		t.Errorf("the plugged NIC's address is %q", got)
	}
	d.Berth("config", "device", "remove", "c1", "eth5")
	if _, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "test", "-e", "/sys/class/net/eth5"); err == nil {
		t.Errorf("the unplugged NIC is still there")
	}

	shared := t.TempDir()
	harness.Run(t, nil, "chmod", "0777", shared)
	d.Berth("config", "device", "add", "c1", "shared", "disk", "source="+shared, "path=/srv/shared")
	d.Berth("exec", "c1", "--", "touch", "/srv/shared/from-inside")
	harness.Run(t, nil, "test", "-e", shared+"/from-inside")
	// Root inside may pass any folder; so may what is plugged on its behalf.
	d.Berth("exec", "c1", "--", "mkdir", "-m", "0644", "/srv/closed")
	d.Berth("config", "device", "add", "c1", "closed", "disk", "source="+shared, "path=/srv/closed/deep/er")
	d.Berth("exec", "c1", "--", "test", "-e", "/srv/closed/deep/er/from-inside")
	d.Berth("restart", "c1", "--force")
	d.Berth("exec", "c1", "--", "test", "-e", "/srv/shared/from-inside")
	d.Berth("config", "device", "remove", "c1", "shared")
	if _, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "test", "-e", "/srv/shared/from-inside"); err == nil {
		t.Errorf("the removed disk is still there")
	}
}

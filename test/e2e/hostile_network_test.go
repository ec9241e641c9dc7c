package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// dnsmasqPID is the process that the daemon holds for a network's dnsmasq.
func dnsmasqPID(t *testing.T, d *harness.Daemon, network string) int {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(d.Dir, "networks", network, "dnsmasq.process"))
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r.PID
}

// Root of a container calls itself the network's dnsmasq, with arguments of its own, while the true one is gone. It is sent
// nothing, and its arguments are not run.
func TestAGuestPosesAsDnsmasq(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("network", "create", "br0", "ipv4.address=10.199.7.1/24", "ipv6.address=none")
	d.Berth("launch", "bb", "c1", "-n", "br0")
	// Busybox goes by its argv[0], so the guest brings a program that does not.
	libraries, err := exec.Command("ldd", "/bin/dash").Output()
	if err != nil {
		t.Skipf("needs dash: %v", err)
	}
	for _, path := range append([]string{"/bin/dash"}, strings.Fields(string(libraries))...) {
		if strings.HasPrefix(path, "/") {
			d.Berth("file", "push", "--create-dirs", "--mode", "0755", path, "c1"+path)
		}
	}
	folder, marker := filepath.Join(d.Dir, "networks", "br0"), filepath.Join(t.TempDir(), "run-as-root")
	d.Berth("exec", "c1", "--", "sh", "-c", fmt.Sprintf(`mkfifo /fifo
(exec -a dnsmasq /bin/dash -s x.y --pid-file=%s/dnsmasq.pid --log-facility=%s --port=0 </fifo >/dev/null 2>&1 &)
echo 'for s in HUP TERM; do trap "echo $s >>/hits" $s; done; >/posing; while :; do sleep 1; done' >/fifo
while [ ! -e /posing ]; do sleep 0.1; done`, folder, marker))
	posing := func() bool {
		return strings.Contains(d.Berth("exec", "c1", "--", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"), "dnsmasq -s x.y --pid-file=")
	}
	if !posing() {
		t.Fatal("the guest does not pose: the test proves nothing")
	}
	before := dnsmasqPID(t, d, "br0")
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(folder, "dnsmasq.pid")); err != nil {
		t.Fatal(err)
	}
	d.Berth("network", "set", "br0", "ipv4.dhcp.expiry", "2h")
	d.Berth("config", "device", "add", "c1", "eth1", "nic", "nictype=p2p")
	d.Berth("config", "device", "remove", "c1", "eth0")
	d.Restart()
	after := dnsmasqPID(t, d, "br0")
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", after)); err != nil || filepath.Base(exe) != "dnsmasq" || after == before {
		t.Errorf("the network's dnsmasq is process %d, was %d, and runs %s, %v", after, before, exe, err)
	}
	if !posing() {
		t.Error("the poser was ended")
	}
	if out := d.Berth("exec", "c1", "--", "sh", "-c", "cat /hits 2>/dev/null || true"); out != "" {
		t.Errorf("the poser was sent %s", out)
	}
	if _, err := os.Stat(marker); err == nil {
		t.Error("a guest's arguments were run by the host's root")
	}
}

// A guest makes itself further addresses, and asks for names that are others'.
func TestAGuestAsksForNamesOfOthers(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("network", "create", "br0", "ipv4.address=10.199.7.1/24", "ipv6.address=none")
	d.Berth("launch", "bb", "c1", "-n", "br0")
	ask := func(device, name string) {
		d.Berth("exec", "c1", "--", "udhcpc", "-f", "-i", device, "-n", "-q", "-t", "20", "-T", "1", "-x", "hostname:"+name, "-s", "/bin/true")
	}
	d.Berth("exec", "c1", "--", "sh", "-c", "ip link add link eth0 name extra address 00:16:3e:ee:ee:01 type macvlan mode bridge && ip link set extra up && ip addr add 10.199.7.250/24 dev eth0")
	ask("eth0", "liar")
	for _, name := range []string{"wpad", "c2"} {
		ask("extra", name)
	}
	known := func(name string) bool {
		out, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "nslookup", "-type=a", name+".lxd", "10.199.7.1")
		return err == nil && strings.Contains(out, name+".lxd\nAddress")
	}
	harness.Eventually(t, 10*time.Second, "the instance's own name is known", func() bool { return known("c1") })
	for _, name := range []string{"liar", "wpad", "c2"} {
		if known(name) {
			t.Errorf("a guest has registered %s", name)
		}
	}
}

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// freePort asks the kernel for a TCP port; the daemon's own namespace has all of them free.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func TestASecondMachineJoinsWithThePassword(t *testing.T) {
	d := harness.New(t).Pool().Image()
	addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	d.Berth("config", "set", "core.https_address", addr)
	d.Berth("config", "set", "core.trust_password", "sesame")
	if got := d.Berth("config", "show"); strings.Contains(got, "sesame") {
		t.Errorf("the password is shown: %s", got)
	}
	inside := func(name string, args ...string) (string, error) {
		return d.Try("nsenter", append([]string{"--net=/run/netns/" + d.NS, name}, args...)...)
	}
	for _, client := range []string{harness.Program("berth"), harness.StockClient(t)} {
		if out, err := inside(client, "remote", "add", "wrong", "https://"+addr, "--accept-certificate", "--password", "no"); err == nil {
			t.Errorf("a wrong password is accepted: %s", out)
		}
		if out, err := inside(client, "remote", "add", "there", "https://"+addr, "--accept-certificate", "--password", "sesame"); err != nil {
			t.Fatalf("remote add: %v %s\n%s", err, out, d.Log())
		}
		if out, err := inside(client, "init", "there:bb", "there:far"); err != nil {
			t.Errorf("init on the remote: %v %s", err, out)
		}
		if out, err := inside(client, "list", "there:", "--format", "csv", "--columns", "n"); err != nil || out != "far\n" {
			t.Errorf("list of the remote: %v %q", err, out)
		}
		if out, err := inside(client, "delete", "there:far"); err != nil {
			t.Errorf("delete on the remote: %v %s", err, out)
		}
		if _, err := inside(client, "remote", "remove", "there"); err != nil {
			t.Errorf("remote remove: %v", err)
		}
	}
	if out, err := inside("curl", "-sk", "https://"+addr+"/1.0/instances"); err != nil || !strings.Contains(out, "403") {
		t.Errorf("an untrusted client gets %q, %v", out, err)
	}
	if out, err := inside("curl", "-sk", "https://"+addr+"/1.0"); err != nil || strings.Contains(out, "kernel_version") || !strings.Contains(out, "untrusted") {
		t.Errorf("an untrusted client sees %q, %v", out, err)
	}
}

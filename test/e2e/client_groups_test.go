package e2e

import (
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestAClientWithRightsByGroups joins by a token, does what its groups may, and no more, and what it has open ends with its rights.
func TestAClientWithRightsByGroups(t *testing.T) {
	d := harness.New(t).Pool().Image()
	overTLS(t, d)
	d.Berth("init", "bb", "c1")
	d.Berth("init", "bb", "c2")
	d.Berth("start", "c1")
	d.Berth("auth", "group", "create", "team")
	d.Berth("auth", "group", "permission", "add", "team", "instance", "c1", "user", "project=default")
	token := strings.TrimSpace(d.Berth("auth", "identity", "create", "tls/laptop", "--group", "team", "--quiet"))
	n := newNewcomer(t, d, harness.Program("berth"))
	n.must("remote", "add", "there", token)
	newNewcomer(t, d, harness.Program("berth")).refused("a token that was used", "remote", "add", "there", token)
	if out := n.must("list", "there:", "-f", "csv", "-c", "n"); out != "c1\n" {
		t.Errorf("it sees %q", out)
	}
	if out := n.must("exec", "there:c1", "--", "id", "-u"); out != "0\n" {
		t.Errorf("exec: %q", out)
	}
	n.must("file", "push", harness.Busybox(t), "there:c1/root/f")
	for _, args := range [][]string{
		{"stop", "there:c1", "-f"}, {"config", "set", "there:c1", "user.x=y"}, {"delete", "there:c1", "-f"}, {"snapshot", "there:c1", "s0"},
		{"info", "there:c2"}, {"exec", "there:c2", "--", "true"}, {"info", "there:absent"}, {"init", "there:c3", "--empty"}, {"copy", "there:c1", "there:c3"},
		{"publish", "there:c1", "there:", "--force"}, {"project", "create", "there:mine"}, {"auth", "group", "create", "there:more"},
		{"auth", "group", "permission", "add", "there:team", "server", "admin"}, {"auth", "permission", "list", "there:"},
		{"config", "trust", "add", "there:", "--name", "more"}, {"auth", "identity", "create", "there:tls/more"},
	} {
		if out, err := n.try(args...); err == nil || !strings.Contains(err.Error(), "not authorized") {
			t.Errorf("%s: %s %v", strings.Join(args, " "), out, err)
		}
	}
	if out := n.must("auth", "identity", "info", "there:"); !strings.Contains(out, "fine_grained: true") || !strings.Contains(out, "entitlement: user") {
		t.Errorf("%s", out)
	}
	d.Berth("auth", "group", "permission", "add", "team", "project", "default", "operator")
	n.must("config", "set", "there:c2", "user.x=y")
	d.Berth("auth", "group", "rename", "team", "crew")
	n.must("info", "there:c2")
	d.Berth("auth", "identity", "group", "remove", "tls/laptop", "crew")
	if out := n.must("list", "there:", "-f", "csv", "-c", "n"); strings.TrimSpace(out) != "" {
		t.Errorf("without a group it sees %q", out)
	}
	d.Berth("auth", "identity", "group", "add", "tls/laptop", "crew")
	n.must("info", "there:c2")
	d.Berth("auth", "identity", "delete", "tls/laptop")
	if out, err := n.try("list", "there:"); err == nil {
		t.Errorf("it is still let in: %s", out)
	}
}

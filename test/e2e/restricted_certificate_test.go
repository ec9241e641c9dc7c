package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// TestARestrictedCertificate lets each of both clients in to one project: there it does what it likes, elsewhere it neither does, sees nor hears
// anything, and with the certificate its sessions end.
func TestARestrictedCertificate(t *testing.T) {
	d := harness.New(t).Pool().Image()
	overTLS(t, d)
	for _, project := range []string{"blue", "red"} {
		d.Berth("project", "create", project, "-c", "features.images=false", "-c", "features.profiles=false")
	}
	d.Berth("init", "bb", "hidden", "--project", "red")
	for _, program := range []string{harness.Program("berth"), harness.StockClient(t)} {
		t.Run(filepath.Base(program), func(t *testing.T) {
			n := newNewcomer(t, d, program)
			name := "tenant-" + filepath.Base(program)
			token := strings.TrimSpace(d.Berth("config", "trust", "add", "--name", name, "--restricted", "--projects", "blue", "--quiet"))
			n.must("remote", "add", "there", token)
			n.must("project", "switch", "there:blue")
			n.must("launch", "there:bb", "there:c1")
			if out := n.must("exec", "there:c1", "--", "id", "-u"); out != "0\n" {
				t.Errorf("exec: %q", out)
			}
			n.must("file", "push", harness.Busybox(t), "there:c1/root/f")
			n.must("config", "set", "there:c1", "user.x=y")
			n.must("snapshot", "there:c1", "s0")
			if out := n.must("list", "there:", "--all-projects", "-f", "csv", "-c", "n"); out != "c1\n" {
				t.Errorf("of all projects it sees %q", out)
			}
			if out := n.must("project", "list", "there:", "-f", "csv"); strings.Contains(out, "red") || strings.Contains(out, "default") || !strings.Contains(out, "blue") {
				t.Errorf("projects: %s", out)
			}
			for _, args := range [][]string{
				{"list", "there:", "--project", "red"}, {"list", "there:", "--project", "absent"}, {"info", "there:hidden", "--project", "red"},
				{"delete", "there:hidden", "--project", "red"}, {"copy", "there:c1", "there:c2", "--target-project", "red"},
				{"project", "create", "there:mine"}, {"project", "set", "there:blue", "user.x=y"}, {"project", "delete", "there:red"},
				{"config", "set", "there:", "user.x=y"}, {"config", "trust", "add", "there:", "--name", "more"}, {"network", "create", "there:rc0"},
				{"storage", "create", "there:mine", "dir"}, {"profile", "set", "there:default", "user.x=y"}, {"image", "delete", "there:bb"},
			} {
				if out, err := n.try(args...); err == nil {
					t.Errorf("%s: %s", strings.Join(args, " "), out)
				}
			}
			n.sessionsEnd(name)
			if out, err := n.try("list", "there:"); err == nil {
				t.Errorf("without its certificate: %s", out)
			}
			d.Berth("delete", "-f", "c1", "--project", "blue")
		})
	}
	removeProjects(d, "blue", "red")
}

// sessionsEnd takes a client's certificate away while it listens and has a command running in c1.
func (n *newcomer) sessionsEnd(name string) {
	n.t.Helper()
	ended := make(chan string, 2)
	file := filepath.Join(n.t.TempDir(), "heard")
	out, err := os.Create(file)
	if err != nil {
		n.t.Fatal(err)
	}
	defer out.Close()
	heard := func() string { data, _ := os.ReadFile(file); return string(data) }
	for what, args := range map[string][]string{
		"the monitor": {"monitor", "there:", "--type=lifecycle"},
		"exec":        {"exec", "there:c1", "--", "sh", "-c", "touch /root/began; exec sleep 1000"},
	} {
		cmd := exec.Command("nsenter", append([]string{"--net=/run/netns/" + n.d.NS, "env", "BERTH_CONF=" + n.conf, "LXD_CONF=" + n.conf, n.program}, args...)...)
		cmd.Env = n.d.Environ()
		if what == "the monitor" {
			cmd.Stdout = out
		}
		if err := cmd.Start(); err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = cmd.Process.Kill() })
		go func() { _ = cmd.Wait(); ended <- what }()
	}
	harness.Eventually(n.t, 20*time.Second, "the command runs", func() bool {
		_, err := n.d.Try(harness.Program("berth"), "exec", "c1", "--project", "blue", "--", "test", "-e", "/root/began")
		return err == nil
	})
	harness.Eventually(n.t, 20*time.Second, "the monitor hears of the own project", func() bool {
		n.d.Berth("config", "set", "c1", "user.x=z", "--project", "blue")
		n.d.Berth("config", "unset", "c1", "user.x", "--project", "blue")
		return strings.Contains(heard(), "/c1?project=blue")
	})
	n.d.Berth("config", "set", "hidden", "user.x=y", "--project", "red") // which is not for its ears
	for line := range strings.Lines(n.d.Berth("config", "trust", "list", "-f", "csv")) {
		if fields := strings.Split(line, ","); fields[1] == name {
			n.d.Berth("config", "trust", "remove", fields[3])
		}
	}
	late := time.After(harness.Slow(20 * time.Second))
	for range 2 {
		select {
		case <-ended:
		case <-late:
			n.t.Fatal("a session goes on without its certificate")
		}
	}
	if strings.Contains(heard(), "hidden") {
		n.t.Errorf("it heard of another project: %s", heard())
	}
}

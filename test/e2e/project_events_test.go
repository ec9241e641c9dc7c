package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// TestEventsOfAProjectNameIt does what there is an event of to an instance of a project, while the default project has one of the same name. Each says
// which of them it is about.
func TestEventsOfAProjectNameIt(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "blue", "-c", "features.images=false", "-c", "features.profiles=false")
	d.Berth("init", "bb", "c1")
	file := filepath.Join(t.TempDir(), "heard")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("nsenter", "--net=/run/netns/"+d.NS, harness.Program("berth"), "monitor", "--project", "blue", "--type=lifecycle", "--format=json")
	cmd.Env, cmd.Stdout, cmd.Stderr = d.Environ(), out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	heard := func() string { data, _ := os.ReadFile(file); return string(data) }
	first := true
	harness.Eventually(t, 20*time.Second, "the monitor listens", func() bool {
		if first {
			d.Berth("init", "bb", "c0", "--project", "blue")
			first = false
		} else {
			d.Berth("config", "set", "c0", "user.n=1", "--project", "blue")
			d.Berth("config", "unset", "c0", "user.n", "--project", "blue")
		}
		return strings.Contains(heard(), "/c0?project=blue")
	})
	for _, args := range [][]string{
		{"launch", "bb", "c1"}, {"exec", "c1", "--", "true"}, {"snapshot", "c1", "s0"}, {"config", "set", "c1", "user.x=y"},
		{"file", "pull", "c1/etc/passwd", filepath.Join(t.TempDir(), "passwd")}, {"file", "push", file, "c1/root/f"}, {"file", "delete", "c1/root/f"},
		{"pause", "c1"}, {"start", "c1"}, {"restart", "-f", "c1"}, {"stop", "-f", "c1"}, {"restore", "c1", "s0"}, {"rename", "c1", "c2"},
		{"delete", "c2/s0"}, {"config", "metadata", "show", "c2"}, {"delete", "c2"}, {"delete", "c0"},
	} {
		d.Berth(append([]string{"--project", "blue"}, args...)...)
	}
	harness.Eventually(t, 20*time.Second, "the last event", func() bool {
		return strings.Contains(heard(), "/1.0/instances/c0?project=blue\"") && strings.Count(heard(), "instance-deleted") == 2
	})
	actions := map[string]bool{}
	for line := range strings.Lines(heard()) {
		var e struct {
			Project  string
			Metadata api.EventLifecycle
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if !strings.HasPrefix(e.Metadata.Action, "instance-") {
			continue
		}
		actions[e.Metadata.Action] = true
		if e.Project != "blue" || !strings.HasSuffix(e.Metadata.Source, "?project=blue") {
			t.Errorf("%s is about %s of project %q", e.Metadata.Action, e.Metadata.Source, e.Project)
		}
	}
	for _, want := range []string{"created", "started", "exec", "snapshot-created", "updated", "file-retrieved", "file-pushed", "file-deleted", "paused", "restarted", "stopped", "restored", "renamed", "snapshot-deleted", "deleted"} {
		if !actions["instance-"+want] {
			t.Errorf("no event of %s", want)
		}
	}
	d.Berth("delete", "c1")
	removeProjects(d, "blue")
}

// TestACopyOutOfTheDefaultProject has objects of one name in both projects: what is copied is what the command names, and not what is where the copy
// goes.
func TestACopyOutOfTheDefaultProject(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "blue", "-c", "features.images=false", "-c", "features.profiles=false")
	for _, project := range []string{"default", "blue"} {
		d.Berth("init", "bb", "c1", "--project", project, "-c", "user.of="+project)
		d.Berth("snapshot", "c1", "s0", "--project", project)
		d.Berth("storage", "volume", "create", "default", "v1", "--project", project)
		d.Berth("storage", "volume", "set", "default", "v1", "user.of="+project, "--project", project)
	}
	d.Berth("copy", "c1", "c2", "--target-project", "blue")
	d.Berth("copy", "c1/s0", "c3", "--target-project", "blue")
	d.Berth("config", "set", "c1", "user.of=changed")
	d.Berth("copy", "c1", "c4", "--target-project", "blue")
	d.Berth("copy", "c1", "c4", "--target-project", "blue", "--refresh")
	d.Berth("storage", "volume", "copy", "default/v1", "default/v2", "--target-project", "blue")
	for name, want := range map[string]string{"c2": "default", "c3": "default", "c4": "changed"} {
		if got := d.Berth("config", "get", name, "user.of", "--project", "blue"); got != want+"\n" {
			t.Errorf("%s is a copy of that of %s", name, got)
		}
	}
	if got := d.Berth("storage", "volume", "get", "default", "v2", "user.of", "--project", "blue"); got != "default\n" {
		t.Errorf("the volume is a copy of that of %s", got)
	}
	for _, flags := range [][]string{{"-c", "user.x=y"}, {"-d", "root,size=1GiB"}, {"-p", "default"}, {"--no-profiles"}} {
		if out := d.BerthFails(append([]string{"move", "c1", "c9", "--target-project", "blue"}, flags...)...); !strings.Contains(out, "override") {
			t.Errorf("move %s: %s", flags, out)
		}
	}
	if out := d.BerthFails("move", "c1", "c9", "--target-project", "blue", "--instance-only"); !strings.Contains(out, "delete those of") {
		t.Errorf("move --instance-only: %s", out)
	}
	for _, v := range []string{"v1", "v2"} {
		d.Berth("storage", "volume", "delete", "default", v, "--project", "blue")
	}
	d.Berth("storage", "volume", "delete", "default", "v1")
	d.Berth("delete", "c1")
	removeProjects(d, "blue")
}

// TestAMoveToAnotherProjectKeepsTheBlock: an isolated instance has the IDs that it had, and nothing is shifted.
func TestAMoveToAnotherProjectKeepsTheBlock(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("project", "create", "red", "-c", "features.profiles=false")
	d.Berth("init", "c1", "--empty", "-c", "security.idmap.isolated=true")
	base := d.Berth("config", "get", "c1", "volatile.idmap.base")
	d.Berth("move", "c1", "c2", "--target-project", "red")
	if got := d.Berth("config", "get", "c2", "volatile.idmap.base", "--project", "red"); got != base || base == "0\n" {
		t.Errorf("its block began at %s and begins at %s", base, got)
	}
	removeProjects(d, "red")
}

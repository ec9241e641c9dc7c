package lxc

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/spec"
)

var confinements = map[string]spec.Confinement{
	"unprivileged":      {},
	"raw":               {Nesting: true, RawAppArmor: "capability sys_time,\nmount fstype=ext4,"},
	"privileged":        {Privileged: true},
	"privileged-nested": {Privileged: true, Nesting: true},
}

// TestProfiles pins the text of the profiles. The namespace is left out: whether there is one is the kernel's affair.
func TestProfiles(t *testing.T) {
	h := apparmor.New("/")
	for name, c := range confinements {
		p := profileOf("c1", c)
		if p.Namespace == c.Privileged {
			t.Errorf("%s: namespace %v", name, p.Namespace)
		}
		p.Namespace = false
		got, err := h.Text(p)
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", "apparmor-"+name+".txt")
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		parse(t, golden)
	}
}

// parse has the real parser compile a profile, where there is one, with all features that the golden text uses.
func parse(t *testing.T, path string) {
	t.Helper()
	parser, err := exec.LookPath("apparmor_parser")
	if err != nil {
		t.Logf("%s was not compiled: needs apparmor_parser (package apparmor)", path)
		return
	}
	out, err := exec.Command(parser, "--config-file=/dev/null", "--skip-kernel-load", "--skip-cache", "--stdout", path).Output()
	if err != nil || len(out) == 0 || len(out) > 64<<10 {
		t.Errorf("%s: %v, %d bytes", path, err, len(out))
	}
}

// needAppArmor skips where the kernel does not confine; see test/lab.
func needAppArmor(t *testing.T, d *Driver) {
	t.Helper()
	if state, why := d.apparmor.State(); state != apparmor.On {
		t.Skip("needs a kernel with AppArmor, such as the lab's: " + why)
	}
}

// labelOf is what a process is confined as.
func labelOf(t *testing.T, pid int) string {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/attr/current", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(raw))
}

func TestContainersAreConfined(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	needAppArmor(t, d)
	inits := map[string]int{"c1": h.start(d, h.spec("c1")).InitPID}
	privileged := h.spec("p1")
	privileged.IDMap = nil
	inits["p1"] = h.start(d, privileged).InitPID
	for id, want := range map[string]string{
		"c1": d.apparmor.Label(profileOf("c1", spec.Confinement{})) + "unconfined (enforce)",
		"p1": d.apparmor.Name(apparmor.Instance, "p1") + " (enforce)",
	} {
		if got := labelOf(t, inits[id]); got != want {
			t.Errorf("%s: init is %q, want %q", id, got, want)
		}
	}
	// What exec starts is confined as init is; in its namespace it sees only that it is free there.
	if got := h.sh(d, "p1", "cat /proc/self/attr/current"); got != labelOf(t, inits["p1"]) {
		t.Errorf("a command is %q", got)
	}
	if got := h.sh(d, "c1", "cat /proc/self/attr/current"); got != "unconfined" {
		t.Errorf("a command sees %q", got)
	}
	h.do(d.Cleanup(h.context(), "c1", ""))
	h.do(d.Cleanup(h.context(), "p1", ""))
	if names, err := d.apparmor.Loaded(); err != nil || len(names) != 0 {
		t.Error("left:", names, err)
	}
	h.do(d.Forget("c1"))
	h.do(d.Forget("p1"))
	if left, _ := filepath.Glob(filepath.Join(h.root, "security/apparmor/*/*")); len(left) != 0 {
		t.Error("left:", left)
	}
}

func TestAPrivilegedContainerCannotReachTheHost(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	needAppArmor(t, d)
	shared := filepath.Join(h.root, "shared")
	h.do(os.MkdirAll(shared, 0o755))
	for _, nesting := range []bool{false, true} {
		id := fmt.Sprintf("p%v", nesting)
		s := h.spec(id)
		s.IDMap, s.Nesting = nil, nesting
		s.Mounts = []spec.Mount{{Source: shared, Target: "mnt", Type: "none", Options: []string{"bind", "ro"}}}
		h.start(d, s)
		for _, attempt := range []string{
			"busybox mount -o remount,rw /proc/sys",
			"busybox mount -o remount,bind,rw /mnt",
			"busybox mount -o bind /mnt /tmp && busybox mount -o remount,bind,rw /tmp",
			"busybox mount -o remount,rw /sys",
			"busybox mount -t debugfs d /tmp",
			"busybox mount -t securityfs d /tmp",
			"busybox mount -o bind /proc/sys /tmp",
			"busybox mount -t proc p /tmp",
			"busybox umount -l /proc/sys && echo x > /proc/sys/kernel/core_pattern",
			"busybox umount -l /proc/sysrq-trigger; echo h > /proc/sysrq-trigger",
			"cat /proc/kcore",
			"touch /mnt/file",
		} {
			if got := h.sh(d, id, "("+attempt+") > /dev/null 2>&1 && echo done || echo refused"); got != "refused" {
				t.Errorf("nesting %v: %s: %s", nesting, attempt, got)
			}
		}
		// What every system does still works.
		for _, usual := range []string{"busybox mount -t tmpfs t /root", "busybox mount -o bind /etc /root", "busybox umount /root", "echo 1 > /proc/sys/net/ipv4/ip_forward", "busybox hostname x"} {
			if got := h.sh(d, id, "("+usual+") 2>&1 && echo done"); !strings.HasSuffix(got, "done") {
				t.Errorf("nesting %v: %s: %s", nesting, usual, got)
			}
		}
		h.do(d.Cleanup(h.context(), id, ""))
	}
	if entries, err := os.ReadDir(shared); err != nil || len(entries) != 0 {
		t.Error(entries, err)
	}
}

func TestAProfileChangesWhileItsContainerRuns(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	needAppArmor(t, d)
	s := h.spec("c1")
	h.start(d, s)
	const write = "(echo y > /tmp/x) 2>/dev/null && echo done || echo refused"
	if got := h.sh(d, "c1", write); got != "done" {
		t.Fatal(got)
	}
	h.do(d.Confine(h.context(), "c1", spec.Confinement{RawAppArmor: `deny /tmp/** w,`}))
	if got := h.sh(d, "c1", write); got != "refused" {
		t.Error(got)
	}
	h.do(d.Confine(h.context(), "c1", spec.Confinement{}))
	if got := h.sh(d, "c1", write); got != "done" {
		t.Error(got)
	}
	if err := d.Confine(h.context(), "c1", spec.Confinement{RawAppArmor: "nonsense"}); err == nil {
		t.Error("nonsense is taken")
	}
}

func TestNoContainerStartsUnconfined(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	needAppArmor(t, d)
	s := h.spec("c1")
	s.RawAppArmor = "nonsense"
	if _, err := d.Start(h.context(), s); err == nil || d.Status("c1") != api.Stopped || d.payload("c1").Exists() {
		t.Error(err, d.Status("c1"))
	}
}

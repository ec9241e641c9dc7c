package lxc

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

var testLayout = layout{
	Log: "/b/logs/c1/lxc.log", Console: "/b/logs/c1/console.log", Config: "/b/logs/c1/lxc.conf", Seccomp: "/b/security/seccomp/c1",
	Restart: "/b/run/restart/c1", Stage: "/b/run/stage/c1", Payload: "lxc.payload.0.c1", Monitor: "lxc.monitor.0.c1", Pivot: "lxc.pivot.0.c1",
}

func testFacts(v2 bool) facts {
	return facts{
		AppArmor: map[bool]string{true: "berth-c1"}[v2], SELinux: map[bool]string{true: "system_u:system_r:container_t:s0"}[v2],
		CoreScheduling: v2, Exists: func(p string) bool { return strings.HasPrefix(p, "/dev/") }, Devices: true, DevicesV2: v2,
		Limits: func(c spec.Cgroup) []cgroup.Setting {
			if c.CPUSet == "" {
				return nil
			}
			return []cgroup.Setting{{Controller: "cpuset", V2: v2, File: "cpuset.cpus", Value: c.CPUSet}}
		},
	}
}

func TestRender(t *testing.T) {
	full := spec.Spec{
		ID: "c1", Name: "c1", Arch: "x86_64", RootFS: spec.RootFS{Path: "/b/root fs", Idmapped: true, ReadOnly: true, Options: []string{"noatime"}},
		IDMap: []spec.IDMapEntry{{UID: true, GID: true, HostID: 1000000, Count: 1000}, {UID: true, NSID: 1000, HostID: 1000, Count: 1}},
		Mounts: []spec.Mount{
			{Source: "/a b/c", Target: "mnt/x\ty", Type: "none", Options: []string{"bind", "ro"}, Create: "dir", Optional: true, Idmapped: true},
			{Source: "tmpfs", Target: "run/x", Type: "tmpfs"},
		},
		NICs:        []spec.NIC{{Device: "eth0", HostName: "veth1", Name: "eth0", HWAddr: "00:16:3e:00:00:01", MTU: 1400}},
		Environment: map[string]string{"B": "2 = x", "A": "1"}, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"},
		Rlimits: map[string]string{"nofile": "10:unlimited"}, Nesting: true, Seccomp: "2\ndenylist\n",
		Cgroup: spec.Cgroup{CPUSet: "0-1"}, RawLXC: "lxc.cap.keep = a\r\nlxc.x = y",
	}
	privileged := spec.Spec{ID: "c1", Name: "c1", RootFS: spec.RootFS{Path: "/b/rootfs", Idmapped: true}, Devices: []spec.DeviceRule{{Allow: true, Rule: "c 1:1 rw"}, {Rule: "c 2:2 r"}}}
	for name, c := range map[string]struct {
		s  spec.Spec
		v2 bool
	}{"full": {full, true}, "privileged": {privileged, false}} {
		got, err := render(&c.s, testLayout, testFacts(c.v2))
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".conf")
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
	}
}

func TestRenderRefusesLinesOfItsOwn(t *testing.T) {
	for name, s := range map[string]spec.Spec{
		"environment":  {Environment: map[string]string{"A": "1\nlxc.hook.start = evil"}},
		"name":         {Environment: map[string]string{"A\n": "1"}},
		"NUL":          {Rlimits: map[string]string{"nofile": "1\x00"}},
		"sysctl":       {Sysctls: map[string]string{"a\nb": "1"}},
		"mount source": {Mounts: []spec.Mount{{Source: "/a\nb", Target: "x", Type: "ext4"}}},
		"mount above":  {Mounts: []spec.Mount{{Source: "/a", Target: "../x"}}},
		"option":       {Mounts: []spec.Mount{{Source: "/a", Target: "x", Type: "ext4", Options: []string{"ro\nlxc.x = y"}}}},
		"NIC":          {NICs: []spec.NIC{{Name: "eth0\nlxc.x = y"}}},
		"raw":          {RawLXC: "a\x00b"},
	} {
		if _, err := render(&s, testLayout, testFacts(false)); api.StatusOf(err) != 400 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzRender(f *testing.F) {
	f.Add("A", "1", "/a b", "mnt/x")
	f.Add("A\n", "\x00", "\\040", "../x")
	f.Fuzz(func(t *testing.T, name, value, source, target string) {
		s := spec.Spec{Name: "c1", Environment: map[string]string{name: value}, Mounts: []spec.Mount{{Source: source, Target: target, Type: "none"}}}
		empty, _ := render(&spec.Spec{Name: "c1"}, testLayout, testFacts(false))
		got, err := render(&s, testLayout, testFacts(false))
		if err == nil && strings.Count(got, "\n") != strings.Count(empty, "\n")+2 {
			t.Fatalf("%q", got)
		}
	})
}

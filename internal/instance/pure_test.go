package instance

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

func TestPlan(t *testing.T) {
	m := []spec.IDMapEntry{{UID: true, GID: true, HostID: 100000, Count: 65536}}
	for name, in := range map[string]PlanInput{
		"plain": {Instance: &Instance{Project: "default", Name: "web", Body: Body{Architecture: "x86_64"}}, IDMap: m, Idmapped: true, RootPath: "/pool/web/rootfs"},
		"privileged": {Instance: &Instance{Project: "other", Name: "web"}, Config: map[string]string{
			"security.privileged": "true", "security.nesting": "true", "security.syscalls.deny": "mount errno 1\n", "raw.lxc": "lxc.x = y",
		}, Idmapped: true, RootPath: "/pool/web/rootfs"},
		"limits": {Instance: &Instance{Project: "default", Name: "web"}, Config: map[string]string{
			"limits.memory": "50%", "limits.cpu.allowance": "25ms/100ms", "limits.processes": "100", "limits.kernel.nofile": "3000",
			"limits.memory.swap": "false", "limits.disk.priority": "0", "limits.network.priority": "3", "limits.cpu.priority": "7",
			"environment.FOO": "bar", "linux.sysctl.net.x": "1", "boot.host_shutdown_timeout": "5", "security.syscalls.deny_default": "false",
		}, CPUs: "0-1", IDMap: m, Host: Host{MemoryTotal: 1000}},
		"devices": {Instance: &Instance{Project: "default", Name: "web"}, IDMap: m, Contributions: []device.Contribution{
			{Mounts: []spec.Mount{{Source: "/b", Target: "mnt/empty"}}}, {Mounts: []spec.Mount{{Source: "/a", Target: "mnt"}}},
			{NICs: []spec.NIC{{Device: "eth0", HostName: "veth1", Name: "eth0"}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Plan(in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "plan", name+".json")
			if *updateGolden {
				if err := os.WriteFile(file, append(got, '\n'), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"a": true, "a-b": true, "A1": true, "": false, "-abc": false, "abc-": false, "1234": false, "12t": false, "a_b": false, "a.b": false, "a/b": false} {
		if (checkName(name) == nil) != ok {
			t.Errorf("%q", name)
		}
	}
	for range 100 {
		if err := checkName(newName(func(string) bool { return false })); err != nil {
			t.Error(err)
		}
	}
}

func TestBalance(t *testing.T) {
	cpus := []int{0, 1, 2, 3}
	for name, c := range map[string]struct{ demands, want map[string]string }{
		"pinned":           {map[string]string{"a": "1-2", "b": "7,3"}, map[string]string{"a": "1-2", "b": "3"}},
		"apart":            {map[string]string{"a": "1", "b": "1"}, map[string]string{"a": "0", "b": "1"}},
		"beside pinned":    {map[string]string{"a": "1", "pin": "0-2"}, map[string]string{"a": "3", "pin": "0-2"}},
		"more than exist":  {map[string]string{"a": "9"}, map[string]string{}},
		"a number, spread": {map[string]string{"a": "2", "b": "2"}, map[string]string{"a": "0-1", "b": "2-3"}},
	} {
		if diff := cmp.Diff(c.want, balance(c.demands, cpus)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzCPUs(f *testing.F) {
	for _, v := range []string{"1", "0-3", "1,3-5", "8192", "9-1", "0-99999999"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		set, err := parseCPUs(v)
		if err != nil {
			return
		}
		again, err := parseCPUs(formatCPUs(set))
		if err != nil || !cmp.Equal(set, again) {
			t.Errorf("%q: %v %v %v", v, set, again, err)
		}
	})
}

func FuzzKeys(f *testing.F) {
	for _, seed := range [][2]string{{"raw.lxc", "lxc.net.0.ipv4.address = 1"}, {"raw.idmap", "both 1000 1000"}, {"limits.cpu.allowance", "25ms/100ms"}, {"limits.memory", "50%"}, {"snapshots.expiry", "1d"}} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		c := map[string]string{key: value}
		if Keys.Validate(c) != nil {
			return
		}
		// What is let in must compile.
		if _, err := Plan(PlanInput{Instance: &Instance{Name: "x"}, Config: c, Host: Host{MemoryTotal: 1 << 30}}); err != nil {
			t.Errorf("%s=%q: %v", key, value, err)
		}
	})
}

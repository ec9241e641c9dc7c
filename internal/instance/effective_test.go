package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// samples are values that change what an instance does, for every key that is set in instances and in profiles alike.
var samples = map[string]string{
	"environment.FOO": "bar", "linux.kernel_modules": "tun", "linux.sysctl.net.ipv4.ip_forward": "1", "user.x": "y",
	"cloud-init.user-data": "#cloud-config", "cloud-init.vendor-data": "#cloud-config", "cloud-init.network-config": "version: 2",
	"boot.autostart": "true", "boot.autostart.delay": "7", "boot.autostart.priority": "8", "boot.host_shutdown_timeout": "9", "boot.stop.priority": "10",
	"limits.cpu": "0-1", "limits.cpu.allowance": "25ms/100ms", "limits.cpu.priority": "3", "limits.disk.priority": "7", "limits.kernel.nofile": "100",
	"limits.memory": "64MiB", "limits.memory.enforce": "soft", "limits.memory.swap": "false", "limits.memory.swap.priority": "1",
	"limits.processes": "33",
	"raw.apparmor":     "capability,", "raw.lxc": "lxc.log.level = 1", "raw.idmap": "both 65537 1000", "raw.seccomp": "2\ndenylist\n",
	"security.idmap.base": "1100000", "security.idmap.isolated": "true", "security.idmap.size": "131072", "security.nesting": "true",
	"security.privileged": "true", "security.protection.delete": "true", "security.protection.shift": "true",
	"security.syscalls.allow": "getpid", "security.syscalls.deny": "getpid", "security.syscalls.deny_default": "false",
	"snapshots.expiry": "1d", "snapshots.pattern": "other%d",
}

// with are keys without which another has no effect, and what changes of the instance show it.
var with = map[string]string{
	"boot.autostart.delay": "boot.autostart", "boot.autostart.priority": "boot.autostart", "limits.memory.enforce": "limits.memory",
	"limits.memory.swap": "limits.memory", "limits.cpu.priority": "limits.cpu.allowance",
	"security.idmap.base": "security.idmap.isolated", "security.idmap.size": "security.idmap.isolated",
}

// others have no effect (yet), or are keys of instances alone.
var others = []string{"cluster.evacuate", "limits.network.priority", "security.devlxd", "image.*"}

// TestAKeyInAProfileDoesWhatItDoesInTheInstance sets each key there and here, and looks at all that it may have an effect on: a check that
// looks at an instance's own configuration alone is none.
func TestAKeyInAProfileDoesWhatItDoesInTheInstance(t *testing.T) {
	for _, key := range Keys.Keys() {
		if strings.HasPrefix(key.Name, "volatile.") || slices.Contains(others, key.Name) {
			continue
		}
		name, value := sample(key)
		if name == "" {
			t.Errorf("%s has no sample value: what it does was not compared", key.Name)
			continue
		}
		t.Run(name, func(t *testing.T) {
			c, bare := map[string]string{name: value}, map[string]string{}
			if other := with[name]; other != "" {
				c[other], bare[other] = samples[other], samples[other]
			}
			own, profile := effects(t, c, nil), effects(t, nil, c)
			if own != profile {
				t.Errorf("%q in the instance:\n%s\nin a profile:\n%s", value, own, profile)
			}
			if own == effects(t, bare, nil) {
				t.Errorf("%q has no effect: what it does was not compared", value)
			}
		})
	}
}

func sample(key config.Key) (name, value string) {
	prefix, wild := strings.CutSuffix(key.Name, "*")
	for name, value := range samples {
		if name == key.Name || wild && strings.HasPrefix(name, prefix) {
			return name, value
		}
	}
	return "", ""
}

// effects is what an instance does that has a configuration of its own and one from a profile.
func effects(t *testing.T, own, profile map[string]string) string {
	t.Helper()
	h := newHouse(t, nil)
	var said []string
	tell := func(what string, v any) {
		raw, err := json.Marshal(v)
		h.do(err)
		said = append(said, what+": "+strings.ReplaceAll(string(raw), h.root, "ROOT"))
	}
	h.LoadModule = func(_ context.Context, name string) error { tell("module", name); return nil }
	h.images.metadata = "architecture: x86_64\ncreation_date: 1\ntemplates:\n  /t:\n    when: [start]\n    template: t.tpl\n"
	h.images.template = `{{ config_get("user.x", "") }}{{ config_get("cloud-init.user-data", "") }}{{ config_get("cloud-init.vendor-data", "") }}{{ config_get("cloud-init.network-config", "") }}`
	h.profile("p", profile, nil)
	h.create("c1", func(r *api.InstancesPost) { r.Config, r.Profiles = own, []string{"default", "p"} })
	row, err := h.get("default", "c1")
	h.do(err)
	for _, c := range h.wanted() {
		tell("started with the daemon", fmt.Sprint(c.priority, c.delay))
	}
	h.do(h.action("c1", "start"))
	s := *h.rt.specs["c1"]
	s.UUID = ""
	tell("spec", s)
	target, err := h.Target(t.Context(), "default", "c1")
	h.do(err)
	tell("environment of exec", target.Environment)
	text, err := os.ReadFile(filepath.Join(h.volumes.Path(row.Value.volume()), "rootfs", "t"))
	tell("template", fmt.Sprint(string(text), err))
	h.do(h.run(h.CreateSnapshot(t.Context(), "default", "c1", api.InstanceSnapshotsPost{})))
	for _, snap := range h.snapshots.List("default", "c1") {
		tell("snapshot", fmt.Sprint(snap.Path[2], " expires in days: ", int(time.Until(snap.Value.ExpiresAt.Add(time.Hour)).Hours()/24)))
	}
	tell("stops", stops(h))
	tell("shift", shifted(h))
	tell("delete", fmt.Sprint(h.run(h.Delete(t.Context(), "default", "c1"))))
	return strings.Join(said, "\n")
}

// stops ends c1 as the end of the daemon does, beside one of a priority in between, and tells the order and what time it is given.
func stops(h *house) (order []string) {
	h.create("c2", func(r *api.InstancesPost) { r.Config = map[string]string{"boot.stop.priority": "5"} })
	h.do(h.action("c2", "start"))
	c, _ := expand(h.Profiles, "default", &h.record("c1").Body)
	order = append(order, shutdownTime(c).String())
	h.rt.onEnd = func(id string) { order = append(order, id) }
	h.StopAll(h.t.Context())
	h.rt.onEnd = nil
	return order
}

// shifted asks for the files of c1 to be shifted, as to another map.
func shifted(h *house) string {
	i := h.record("c1").clone()
	i.Shifting = true
	_, err := os.Stat(h.volumes.Path(i.volume()))
	h.do(err)
	err = h.shift(h.t.Context(), i, h.effectiveOf(i))
	if err != nil && strings.Contains(err.Error(), "protected") {
		return err.Error()
	}
	return "done"
}

func (h *house) record(name string) *Instance {
	h.t.Helper()
	row, err := h.get("default", name)
	h.do(err)
	return row.Value
}

// A device in a profile is one of the instance: it is started, told of and taken away.
func TestADeviceInAProfileIsOneOfTheInstance(t *testing.T) {
	nic := map[string]map[string]string{"eth0": {"type": "nic", "nictype": "fake"}}
	for _, own := range []bool{true, false} {
		h := newHouse(t, nil)
		profile := nic
		if own {
			profile = nil
		}
		h.profile("p", nil, profile)
		h.create("c1", func(r *api.InstancesPost) {
			r.Profiles = []string{"default", "p"}
			if own {
				r.Devices = nic
			}
		})
		h.do(h.action("c1", "start"))
		if n := len(h.nic.up); n != 1 {
			t.Errorf("own %v: %d NICs are up", own, n)
		}
		if users := h.Users(func(p string) bool { return p == "default" }, func(_ map[string]string, devices map[string]device.Config) bool { return devices["eth0"] != nil }); len(users) != 1 {
			t.Errorf("own %v: users %v", own, users)
		}
		h.do(h.action("c1", "stop"))
		h.do(h.run(h.Delete(t.Context(), "default", "c1")))
		h.nothingLeft()
	}
}

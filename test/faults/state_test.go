package faults

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/berthd/berth/test/harness"
)

// state lists all that a daemon has on the host and in its folder: mounts, processes, interfaces, addresses, routes, firewall rules,
// control groups, files. A change and its opposite must lead back to the same state, whatever happened in between.
func state(d *harness.Daemon) []string {
	var all []string
	for _, l := range d.HostLeftovers() {
		if strings.HasPrefix(l, "process ") {
			continue // in which PIDs and the daemon's own arguments differ
		}
		all = append(all, l)
	}
	all = append(all, processes(d)...)
	for _, args := range [][]string{{"ip", "-o", "address"}, {"ip", "route"}, {"ip", "-6", "route"}, {"nft", "list", "ruleset"}} {
		out, err := exec.Command("nsenter", append([]string{"--net=/run/netns/" + d.NS}, args...)...).Output()
		if err != nil {
			d.T.Errorf("%v: %v", args, err)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, args[0]+" "+line)
			}
		}
	}
	_ = filepath.WalkDir(d.Dir, func(path string, e fs.DirEntry, err error) error {
		name, _ := filepath.Rel(d.Dir, path)
		switch {
		case err != nil: // gone meanwhile
			return nil
		case name == "database":
			return fs.SkipDir // the store's own business: the journal is looked at
		case strings.HasPrefix(name, "berthd.log"):
			return nil
		}
		all = append(all, "file "+name+" "+content(path, name))
		return nil
	})
	slices.Sort(all)
	return all
}

// content says what a file is, whose, and what is in it.
func content(path, name string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return "is gone"
	}
	st := info.Sys().(*syscall.Stat_t)
	what := fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		target, _ := os.Readlink(path)
		return what + " to " + target
	case !info.Mode().IsRegular() || slices.ContainsFunc(unlike, func(u string) bool { return strings.HasPrefix(name, u) }):
		return what
	}
	f, err := os.Open(path)
	if err != nil {
		return what
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return what
	}
	return fmt.Sprintf("%s %d bytes, %x", what, info.Size(), sum.Sum(nil)[:8])
}

// unlike are the files whose content is another each time: what a process says of itself, and logs.
var unlike = []string{"run/", "logs/", "networks/"}

// processes lists what runs for the daemon besides itself.
func processes(d *harness.Daemon) []string {
	var all []string
	for _, pid := range d.Processes() {
		if !d.Ended() && pid == d.PID() {
			continue
		}
		cmd, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && len(cmd) > 0 {
			all = append(all, "process "+string(bytes.ReplaceAll(cmd, []byte{0}, []byte(" "))))
		}
	}
	return all
}

// differences says what is in one state and not in the other.
func differences(before, after []string) []string {
	var all []string
	for _, s := range after {
		if !slices.Contains(before, s) {
			all = append(all, "left over: "+s)
		}
	}
	for _, s := range before {
		if !slices.Contains(after, s) {
			all = append(all, "missing: "+s)
		}
	}
	if len(all) > 20 {
		all = append(all[:20], fmt.Sprintf("… and %d more", len(all)-20))
	}
	return all
}

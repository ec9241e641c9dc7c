package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/test/harness"
)

// TestTheDaemonGivesDescriptorsBack has clients do what they do all day, fifty times, and counts what is open in the daemon and in the
// helper before and after. The daemon's collector, which closes files that it finds, is off.
func TestTheDaemonGivesDescriptorsBack(t *testing.T) {
	d := harness.New(t, "GOGC=off").Pool().Image()
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "true") // by now there is a helper
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	day := func() {
		d.Berth("exec", "c1", "--", "true")
		d.Berth("file", "push", file, "c1/tmp/f")
		d.Berth("file", "pull", "c1/tmp/f", file)
		d.BerthFails("file", "pull", "c1/tmp/none", file)
		d.Berth("config", "set", "c1", "limits.processes=100")
		d.Berth("snapshot", "c1", "s1")
		d.Berth("delete", "c1/s1")
		d.Berth("list")
		d.Berth("stop", "-f", "c1")
		d.Berth("start", "c1")
	}
	pids := append([]int{d.PID()}, childrenOf(d.PID(), "berth-lxc")...)
	if len(pids) != 2 {
		t.Fatalf("the daemon and its helper: %v", pids)
	}
	fdcount.SteadyOf(t, pids, day)
}

// TestWhatIsReadGivesDescriptorsBack does so with all that can be read, and with what is read in vain: each answer has an end of its own.
func TestWhatIsReadGivesDescriptorsBack(t *testing.T) {
	d := harness.New(t, "GOGC=off").Pool().Image()
	d.Berth("network", "create", "fds0", "ipv4.address=10.199.23.1/24", "ipv6.address=none")
	d.Berth("launch", "bb", "c1")
	d.Berth("exec", "c1", "--", "sh", "-c", "echo text > /tmp/f; ln -s f /tmp/l")
	d.Berth("snapshot", "c1", "s")
	d.Berth("init", "bb", "c2") // which does not run
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Dir+"/unix.socket")
	}}}
	defer c.CloseIdleConnections()
	read := func(method, path string, wants bool) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://berth"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || (resp.StatusCode == http.StatusOK) != wants {
			t.Errorf("%s %s: %s, %v", method, path, resp.Status, err)
		}
	}
	const c1, c2 = "/1.0/instances/c1", "/1.0/instances/c2"
	var image string
	for _, url := range strings.Fields(d.Berth("image", "list", "--format=csv", "--columns=F")) {
		image = "/1.0/images/" + url
	}
	fdcount.SteadyOf(t, []int{d.PID()}, func() {
		for _, path := range []string{
			"/1.0", "/1.0/resources", "/1.0/metadata/configuration", "/1.0/warnings?recursion=1", "/1.0/operations?recursion=1",
			"/1.0/instances?recursion=2", c1, c1 + "/state", c1 + "/snapshots/s", c1 + "/console", c1 + "/logs", c1 + "/logs/lxc.log", c1 + "/logs/lxc.conf", c2 + "/logs",
			c1 + "/metadata", c1 + "/metadata/templates", c1 + "/files?path=/tmp", c1 + "/files?path=/tmp/f", c1 + "/files?path=/tmp/l", c1 + "/files?path=/proc/uptime",
			c2 + "/files?path=/", c2 + "/files?path=/bin/busybox", image, image + "/export", "/1.0/images/aliases/bb",
			"/1.0/networks?recursion=1", "/1.0/networks/fds0/state", "/1.0/networks/fds0/leases",
			"/1.0/storage-pools/default/resources", "/1.0/storage-pools/default/volumes?recursion=1",
		} {
			read("GET", path, true)
		}
		read("HEAD", c1+"/files?path=/tmp/f", true)
		read("HEAD", c2+"/files?path=/", true)
		for _, path := range []string{
			c1 + "/files?path=/none", c2 + "/files?path=/bin/busybox/x", c1 + "/logs/none", c1 + "/logs/exec_none.stdout", c1 + "/metadata/templates?path=none",
			"/1.0/images/none/export", "/1.0/networks/none/state", "/1.0/storage-pools/none/resources",
		} {
			read("GET", path, false)
		}
	})
}

// childrenOf lists the children of a process that run a program.
func childrenOf(pid int, program string) (children []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		raw, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(raw)) {
			name, _ := os.ReadFile(filepath.Join("/proc", field, "comm"))
			if child, err := strconv.Atoi(field); err == nil && string(name) == program+"\n" {
				children = append(children, child)
			}
		}
	}
	return children
}

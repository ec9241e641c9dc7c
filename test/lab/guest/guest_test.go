// Package guest holds the tests that only the lab's guest can run: its kernel has what a build host's may lack. test/lab/run runs them.
package guest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// inLab skips a test that would change, or misjudge, an ordinary host.
func inLab(t *testing.T) {
	t.Helper()
	if os.Getenv("BERTH_LAB") == "" {
		t.Skip("not in the lab's guest: test/lab/run ./test/lab/guest")
	}
}

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	return harness.Run(t, nil, name, args...)
}

// later runs a program when the test ends; what it is to remove may be gone already.
func later(t *testing.T, name string, args ...string) {
	t.Cleanup(func() {
		if out, err := command(name, args...).CombinedOutput(); err != nil {
			t.Errorf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
		}
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// loop makes a loop device of a sparse file.
func loop(t *testing.T, megabytes int64) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, megabytes<<20); err != nil {
		t.Fatal(err)
	}
	device := strings.TrimSpace(run(t, "losetup", "--find", "--show", file))
	later(t, "losetup", "--detach", device)
	return device
}

// mounted makes a file system on a device and mounts it.
func mounted(t *testing.T, device, options string, mkfs ...string) string {
	t.Helper()
	run(t, mkfs[0], append(mkfs[1:], device)...)
	dir := t.TempDir()
	run(t, "mount", "-o", options, device, dir)
	later(t, "umount", dir)
	return dir
}

// random is a file's worth of bytes that no zero page, hole or other file could stand for.
func random(t *testing.T, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	file, err := os.Open("/dev/urandom")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Read(data); err != nil {
		t.Fatal(err)
	}
	return data
}

// wantContent compares the start of a file or device.
func wantContent(t *testing.T, path string, want []byte) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got := make([]byte, len(want))
	if _, err := file.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s has other content than was written", path)
	}
}

// container is a running instance. The daemon is asked over its socket where a test only wants something done: a process costs seconds here.
type container struct {
	*harness.Daemon
	name  string
	group string // its control group
}

// launch starts a container of the small image.
func launch(t *testing.T, d *harness.Daemon, name string, flags ...string) *container {
	t.Helper()
	d.Berth(append([]string{"launch", "bb", name}, flags...)...)
	c := &container{Daemon: d, name: name}
	c.find(t)
	return c
}

// find looks for the control group, as a start makes a new one.
func (c *container) find(t *testing.T) {
	t.Helper()
	var state struct {
		Metadata struct{ Pid int }
	}
	if err := json.Unmarshal(c.call(t, http.MethodGet, "/state", nil), &state); err != nil || state.Metadata.Pid == 0 {
		t.Fatalf("no process in the state of %s: %v", c.name, err)
	}
	path, ok := strings.CutPrefix(read(t, fmt.Sprintf("/proc/%d/cgroup", state.Metadata.Pid)), "0::")
	if !ok || !strings.Contains(path, "lxc.payload.") {
		t.Fatalf("%s is in the group %q", c.name, path)
	}
	c.group = "/sys/fs/cgroup" + path
}

// config sets a key of the running container; "" unsets it.
func (c *container) config(t *testing.T, key, value string) {
	t.Helper()
	c.call(t, http.MethodPatch, "", map[string]any{"config": map[string]string{key: value}})
}

// try runs a command inside.
func (c *container) try(command ...string) (string, error) {
	return c.Try(harness.Program("berth"), append([]string{"exec", c.name, "--"}, command...)...)
}

// call makes a request about the container that is answered at once.
func (c *container) call(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(method, "http://berth/1.0/instances/"+c.name+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	transport := http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", c.Dir+"/unix.socket")
	}}
	client := http.Client{Transport: &transport, Timeout: harness.Slow(harness.Limit)}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v: %s", method, path, resp.Status, err, answer)
	}
	return answer
}

// wantFile compares a file of the container's group.
func (c *container) wantFile(t *testing.T, what, file, want string) {
	t.Helper()
	if got := read(t, c.group+"/"+file); got != want {
		t.Errorf("%s: %s is %q, want %q", what, file, got, want)
	}
}

// number is one value of a file of the group like memory.events.
func (c *container) number(t *testing.T, file, key string) int {
	t.Helper()
	return counter(t, c.group+"/"+file, key)
}

// counter is one number of a flat keyed file like memory.events.
func counter(t *testing.T, file, key string) (n int) {
	t.Helper()
	for _, line := range strings.Split(read(t, file), "\n") {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			if _, err := fmt.Sscan(value, &n); err != nil {
				t.Fatalf("%s: %q", file, line)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", file, key)
	return 0
}

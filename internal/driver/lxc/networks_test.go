package lxc

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/nettest/hide"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

// hides has the guest make a network namespace and keep it in a place, and returns its number.
func (h *host) hides(d *Driver, id, place string) uint64 {
	h.Helper()
	out, in, err := os.Pipe()
	h.do(err)
	null, err := os.Open(os.DevNull)
	h.do(err)
	defer func() { _, _ = null.Close(), out.Close() }()
	_, err = d.Exec(h.context(), id, runtime.ExecRequest{Command: []string{"/hide", "hide", place}, Stdin: null, Stdout: in, Stderr: in})
	h.do(errors.Join(err, in.Close()))
	line, err := bufio.NewReader(out).ReadString('\n')
	h.do(err)
	var number uint64
	var failed string
	if strings.Contains(line, "not permitted") || strings.Contains(line, "not implemented") {
		h.Skip("this kernel has none:", line)
	}
	if _, err := fmt.Sscan(line, &number, &failed); err != nil || failed != "<nil>" {
		h.Fatalf("%s: %s", place, line)
	}
	return number
}

// withHide puts this program into the root file systems of guests, and the libraries that it needs.
func (h *host) withHide() {
	h.Helper()
	files := map[string]string{"/hide": "/proc/self/exe"}
	self, err := elf.Open("/proc/self/exe")
	h.do(err)
	for _, p := range self.Progs {
		if p.Type == elf.PT_INTERP {
			name, err := io.ReadAll(p.Open())
			h.do(err)
			linker := string(bytes.TrimRight(name, "\x00"))
			files[linker] = linker
		}
	}
	maps, err := os.ReadFile("/proc/self/maps")
	h.do(errors.Join(err, self.Close()))
	for line := range strings.Lines(string(maps)) {
		if f := strings.Fields(line); len(f) == 6 && strings.Contains(f[5], ".so") {
			files[f[5]] = f[5]
		}
	}
	for to, from := range files {
		raw, err := os.ReadFile(from)
		h.do(err)
		h.do(os.MkdirAll(filepath.Dir(filepath.Join(h.rootfs, to)), 0o755))
		h.do(os.WriteFile(filepath.Join(h.rootfs, to), raw, 0o755))
	}
	h.do(os.Chmod(filepath.Join(h.rootfs, "tmp"), 0o1777))
}

// networks are the numbers of the namespaces that are shown.
func (h *host) networks(d *Driver, id string) (map[uint64]bool, error) {
	h.Helper()
	seen := map[uint64]bool{}
	err := d.NetworkNamespaces(h.context(), id, func(ns *os.File) error {
		n, err := inode(int(ns.Fd()))
		if seen[n] {
			h.Errorf("%d is shown twice", n)
		}
		seen[n] = true
		return err
	})
	if d.Status(id) != api.Running {
		h.Errorf("the container is %s", d.Status(id))
	}
	return seen, err
}

// TestNetworkNamespaces: a guest keeps one wherever it can. Either it is seen or it is said that there may be one.
func TestNetworkNamespaces(t *testing.T) {
	h := newHost(t)
	h.withHide()
	d := h.driver()
	var own unix.Stat_t
	h.do(unix.Stat("/proc/self/ns/net", &own))
	for place, secret := range hide.Places {
		t.Run(place, func(t *testing.T) {
			h := &host{t, h.root, h.rootfs}
			h.privilege(func(s *spec.Spec) {
				h.start(d, s)
				if seen, err := h.networks(d, s.ID); len(seen) != 1 || err != nil || seen[own.Ino] {
					t.Fatalf("of %s are seen %v, %v", s.ID, seen, err)
				}
				number := h.hides(d, s.ID, place)
				seen, err := h.networks(d, s.ID)
				switch unseen := (*device.Unseen)(nil); {
				case secret && (seen[number] || !errors.As(err, &unseen)):
					t.Errorf("%s: %d is there and %v are seen, %v", s.ID, number, seen, err)
				case !secret && (len(seen) != 2 || !seen[number] || err != nil):
					t.Errorf("%s: %d is there and %v are seen, %v", s.ID, number, seen, err)
				}
				h.do(d.Kill(h.context(), s.ID))
			})
		})
	}
}

// TestManyNetworkNamespaces: what lies beyond a bound is not passed over in silence.
func TestManyNetworkNamespaces(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	h.sh(d, "c1", "for n in 1 2 3 4; do busybox unshare -n sleep 1000 > /dev/null 2>&1 & done; while [ $(for p in /proc/[0-9]*; do busybox readlink $p/ns/net; done | busybox sort -u | busybox wc -l) -lt 5 ]; do :; done")
	for name, bound := range map[string]*int{"namespaces": &maxNetworks, "threads": &maxTasks, "descriptors": &maxDescriptors} {
		before := *bound
		*bound = 2
		if seen, err := h.networks(d, "c1"); !errors.As(err, new(*device.Unseen)) || len(seen) > 2 {
			t.Errorf("%s: %v are seen, %v", name, seen, err)
		}
		*bound = before
	}
	before := networksTime
	networksTime = 0
	_, err := h.networks(d, "c1")
	networksTime = before
	if !errors.As(err, new(*device.Unseen)) {
		t.Errorf("in no time: %v", err)
	}
	if seen, err := h.networks(d, "c1"); len(seen) != 5 || err != nil {
		t.Errorf("%v are seen, %v", seen, err)
	}
	want := errors.New("enough")
	if err := d.NetworkNamespaces(h.context(), "c1", func(*os.File) error { return want }); !errors.Is(err, want) {
		t.Errorf("the error of look: %v", err)
	}
}

// TestALookThatIsCutOffFreezesNobody: a daemon ends while a container stands still for it.
func TestALookThatIsCutOffFreezesNobody(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	h.start(d, h.spec("c1"))
	_, err := d.holdStill(h.context(), "c1")
	h.do(err)
	next := h.driver()
	if _, err := next.Find(h.context(), anyone); err != nil {
		t.Fatal(err)
	}
	if got := next.Status("c1"); got != api.Running {
		t.Errorf("it is %s", got)
	}
	h.sh(next, "c1", "true")
	h.do(next.Freeze(h.context(), "c1")) // by a client
	if _, err := h.driver().Find(h.context(), anyone); err != nil {
		t.Fatal(err)
	}
	if frozen, err := d.payload("c1").Frozen(); err != nil || !frozen {
		t.Errorf("what a client froze is thawed: %v", err)
	}
	h.do(next.Kill(h.context(), "c1"))
}

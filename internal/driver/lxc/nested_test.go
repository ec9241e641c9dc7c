package lxc

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/nettest/hide"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

// hidesDisk has the guest keep what is mounted at a path in one of hide.DiskPlaces. There tells whether it can get at a file of it.
func (h *host) hidesDisk(d *Driver, id, place, path string) (there func() bool) {
	h.Helper()
	pipes := strings.TrimSpace(h.sh(d, id, "busybox mktemp -d"))
	out, in, err := os.Pipe()
	h.do(err)
	null, err := os.Open(os.DevNull)
	h.do(err)
	defer func() { _, _ = null.Close(), out.Close() }()
	_, err = d.Exec(h.context(), id, runtime.ExecRequest{Command: []string{"/hide", "hide-disk", place, path, "file", pipes}, Stdin: null, Stdout: in, Stderr: in})
	h.do(errors.Join(err, in.Close()))
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "hide: <nil>\n" {
		h.Fatalf("%s: %s, %v", place, line, err)
	}
	return func() bool {
		h.Helper()
		switch said := h.sh(d, id, "echo > "+pipes+"/ask; cat "+pipes+"/answer"); said {
		case "true <nil>":
			return true
		case "false <nil>":
			return false
		default:
			h.Fatalf("%s: %s", place, said)
			return false
		}
	}
}

// disk mounts a folder with a file in a container.
func (h *host) disk(d *Driver, id, name string) spec.Mount {
	h.Helper()
	m := spec.Mount{Source: h.folder(name), Target: "mnt/" + name, Create: "dir", Options: []string{"bind"}}
	h.do(os.WriteFile(filepath.Join(m.Source, "file"), nil, 0o644))
	h.do(d.Mount(h.context(), id, m))
	return m
}

// TestADiskInANestedNamespaceIsUnmounted: root inside keeps it in a mount namespace of its own. Once it was said to be unmounted, and was there.
func TestADiskInANestedNamespaceIsUnmounted(t *testing.T) {
	h := newHost(t)
	h.withHide()
	d := h.driver()
	for place, secret := range hide.DiskPlaces {
		t.Run(place, func(t *testing.T) {
			h := &host{t, h.root, h.rootfs}
			h.privilege(func(s *spec.Spec) {
				h.start(d, s)
				name := strings.ReplaceAll(s.ID+place, " ", "")
				m, other := h.disk(d, s.ID, name), h.disk(d, s.ID, name+"2")
				there, stays := h.hidesDisk(d, s.ID, place, "/"+m.Target), h.hidesDisk(d, s.ID, "thread", "/"+other.Target)
				if !there() {
					t.Fatalf("%s: it is not there", s.ID)
				}
				if place == "descriptor on its way" { // it has been received
					there = h.hidesDisk(d, s.ID, place, "/"+m.Target)
				}
				err := d.Unmount(h.context(), s.ID, m, nil)
				unseen := place == "root" || secret && len(s.IDMap) == 0 // as what is open
				switch {
				case err != nil && !(unseen && api.StatusOf(err) == 400 && strings.Contains(err.Error(), "once the instance is stopped")):
					t.Errorf("%s: %v", s.ID, err)
				case err == nil && there() && !unseen:
					t.Errorf("%s: it is said to be unmounted, and is there", s.ID)
				}
				if !stays() {
					t.Errorf("%s: another disk is gone", s.ID)
				}
				if d.Status(s.ID) != api.Running {
					t.Errorf("the container is %s", d.Status(s.ID))
				}
				h.do(d.Kill(h.context(), s.ID))
			})
		})
	}
}

// TestMoreNamespacesThanAreLookedAtKeepADisk: what lies beyond a bound, or is not seen in time, is not passed over in silence.
func TestMoreNamespacesThanAreLookedAtKeepADisk(t *testing.T) {
	h := newHost(t)
	h.withHide()
	d := h.driver()
	h.privilege(func(s *spec.Spec) {
		h.start(d, s)
		m := h.disk(d, s.ID, s.ID)
		h.hidesDisk(d, s.ID, "thread", "/"+m.Target)
		there := h.hidesDisk(d, s.ID, "descriptor", "/"+m.Target)
		refused := func(why string) {
			t.Helper()
			if err := d.Unmount(h.context(), s.ID, m, nil); api.StatusOf(err) != 400 || !strings.Contains(err.Error(), "once the instance is stopped") {
				t.Errorf("%s: %s: %v", s.ID, why, err)
			}
			if d.Status(s.ID) != api.Running {
				t.Errorf("%s: the container is %s", s.ID, d.Status(s.ID))
			}
		}
		before := maxNested
		maxNested = 1
		refused("one namespace")
		maxNested = before
		limit := nestedTime
		nestedTime = 0
		refused("no time")
		nestedTime = limit
		if !there() {
			t.Errorf("%s: it was refused, and is gone", s.ID)
		}
		h.do(d.Unmount(h.context(), s.ID, m, nil))
		if there() {
			t.Errorf("%s: it is there", s.ID)
		}
		h.do(d.Kill(h.context(), s.ID))
	})
}

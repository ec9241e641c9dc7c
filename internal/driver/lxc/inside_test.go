package lxc

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/spec"
)

// A privileged guest mounted FUSE and never answered: a hot-plug beneath it, and with it the instance's lock, was held for good.
func TestFileSystemThatDoesNotAnswer(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	s := h.spec("c1")
	s.IDMap = nil
	h.start(d, s)
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip("needs FUSE:", err)
	}
	defer func() { _ = unix.Close(fuse) }() // frees the thread that is left
	i, err := d.initOf("c1")
	h.do(err)
	defer i.release()
	h.do(inside(h.context(), i, func(func() bool) error {
		return unix.Mount("x", "/mnt", "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse))
	}))
	before := lookTime
	lookTime = 200 * time.Millisecond
	defer func() { lookTime = before }()
	ended := make(chan error, 2)
	go func() {
		ended <- d.Mount(h.context(), "c1", spec.Mount{Source: h.root, Target: "mnt/x/y", Create: "dir"})
		ended <- d.Unmount(h.context(), "c1", spec.Mount{Target: "mnt/x/y"}, nil)
	}()
	for _, what := range []string{"mount", "unmount"} {
		select {
		case err := <-ended:
			if !errors.Is(err, errLate) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("the %s waits for the guest", what)
		}
	}
}

package lxc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
)

// unfreezable starts a container in which a process waits for a file system that does not answer until answered is called.
func (h *host) unfreezable(d *Driver) (answered func()) {
	h.Helper()
	s := h.spec("c1")
	s.IDMap = nil // FUSE of a user namespace would do as well; this needs no program inside
	fuse, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		h.Skip("needs FUSE:", err)
	}
	h.start(d, s)
	answered = sync.OnceFunc(func() { _ = unix.Close(fuse) })
	h.Cleanup(answered) // before the container's own, as what waits does not die either
	i, err := d.initOf("c1")
	h.do(err)
	defer i.release()
	h.do(inside(h.context(), i, func(func() bool) error {
		return unix.Mount("x", "/mnt", "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fuse))
	}))
	h.do(answerInit(fuse))
	h.sh(d, "c1", "ls /mnt/x > /dev/null 2>&1 &")
	h.do(second(unix.Read(fuse, make([]byte, 1<<17)))) // what it asks for
	return answered
}

// answerInit says to the kernel, as a file system does first, that it is there (linux/fuse.h: FUSE_INIT). Before that the kernel lets those who
// wait be frozen.
func answerInit(fuse int) error {
	request := make([]byte, 1<<17)
	if _, err := unix.Read(fuse, request); err != nil {
		return err
	}
	answer := make([]byte, 16+64) // fuse_out_header and fuse_init_out
	binary.LittleEndian.PutUint32(answer, uint32(len(answer)))
	copy(answer[8:], request[8:16])                  // unique
	binary.LittleEndian.PutUint32(answer[16:], 7)    // major
	binary.LittleEndian.PutUint32(answer[20:], 31)   // minor
	binary.LittleEndian.PutUint32(answer[36:], 4096) // max_write
	_, err := unix.Write(fuse, answer)
	return err
}

// becomesFrozen waits until the kernel has begun to freeze the container.
func (h *host) becomesFrozen(d *Driver) {
	h.Helper()
	group := d.payload("c1").Folder()
	for ctx := h.context(); ctx.Err() == nil; {
		for _, file := range []string{filepath.Join("/sys/fs/cgroup/freezer", filepath.Base(group), "freezer.state"), filepath.Join(group, "cgroup.freeze")} {
			if raw, _ := os.ReadFile(file); strings.HasPrefix(string(raw), "F") || strings.HasPrefix(string(raw), "1") {
				return
			}
		}
	}
	h.Fatal("it is not being frozen")
}

// A guest with a file system of its own was waited for without a bound, with half of its processes standing still.
func TestWhatCannotBeFrozenGoesOn(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	before := freezeTime
	freezeTime = 300 * time.Millisecond
	t.Cleanup(func() { freezeTime = before })
	h.unfreezable(d)
	if err := d.Freeze(h.context(), "c1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if got := d.Status("c1"); got != api.Running {
		t.Error(got)
	}
	h.sh(d, "c1", "true")
}

// The freeze for a copy kept the processes of a container that was being killed from dying, and so the stop never came to its end.
func TestAStopEndsAFreeze(t *testing.T) {
	h := newHost(t)
	d := h.driver()
	answered := h.unfreezable(d)
	frozen := make(chan error, 1)
	go func() { frozen <- d.Freeze(h.context(), "c1") }()
	h.becomesFrozen(d)
	killed := make(chan error, 1)
	go func() { killed <- d.Kill(h.context(), "c1") }()
	select {
	case err := <-frozen:
		if !errors.Is(err, errEnding) {
			t.Error(err)
		}
	case <-time.After(freezeTime / 2):
		t.Error("the freeze goes on")
	}
	answered() // a guest's server is killed with the guest, and what waits for it dies
	h.do(<-killed)
}

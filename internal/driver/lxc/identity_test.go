package lxc

import (
	"net/http"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/cgroup"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

const one, another = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"

// owns is the instance that has every ID.
func owns(uuid string) runtime.Owner { return func(string) (string, bool) { return uuid, true } }

func nobody(string) (string, bool) { return "", false }

func (h *host) marked(id, uuid string) *spec.Spec {
	s := h.spec(id)
	s.UUID = uuid
	return s
}

// bearsOne checks that control groups bear the identity that they were started with.
func (h *host) bearsOne(d *Driver) {
	h.Helper()
	if got, err := d.payload("c1").Owner(); got != one || err != nil {
		h.Fatalf("the control group bears %q (%v)", got, err)
	}
	if got, err := d.monitor("c1").Owner(); got != one || err != nil {
		h.Fatalf("the monitor's control group bears %q (%v)", got, err)
	}
}

func TestWhatBearsAnotherIdentityIsLeftAlone(t *testing.T) {
	for name, owner := range map[string]runtime.Owner{"another instance": owns(another), "no instance": nobody, "one without identity": owns("")} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			first := h.driver()
			p := h.start(first, h.marked("c1", one))
			h.bearsOne(first)

			second := h.driver()
			found, err := second.Find(h.context(), owner)
			h.do(err)
			if got := found["c1"]; got.Err == nil || got.UUID != one || got.InitPID != 0 {
				t.Errorf("found %+v", got)
			}
			h.leavesAlone(second, "c1")
			if err := second.Cleanup(h.context(), "c1", another); api.StatusOf(err) != http.StatusServiceUnavailable {
				t.Errorf("clean-up: %v", err)
			}
			h.leavesAlone(second, "c1")
			h.sh(first, "c1", "true")

			found, err = second.Find(h.context(), owns(one)) // the store is the right one again
			h.do(err)
			if got := found["c1"]; got.Err != nil || got.UUID != one || got.InitPID != p.InitPID || second.Status("c1") != api.Running {
				t.Errorf("found %+v, which is %s", got, second.Status("c1"))
			}
		})
	}
}

func TestTheIDIsFreeWhenAStrangerHasEnded(t *testing.T) {
	h := newHost(t)
	first := h.driver()
	h.start(first, h.marked("c1", one))
	second := h.driver()
	_, err := second.Find(h.context(), owns(another))
	h.do(err)
	if got := second.Status("c1"); got != api.StatusError {
		t.Fatal(got)
	}
	h.killedAtOnce(first, "c1")
	if got := second.Status("c1"); got != api.Stopped {
		t.Error(got)
	}
	if p := h.start(second, h.marked("c1", another)); p.UUID != another { // over the groups that are left
		t.Errorf("%+v", p)
	}
	if got, err := second.payload("c1").Owner(); got != another || err != nil {
		t.Errorf("the control group bears %q (%v)", got, err)
	}
}

// killedAtOnce ends monitor and init at once, so that nobody removes the control groups.
func (h *host) killedAtOnce(d *Driver, id string) {
	h.Helper()
	monitor, first, err := d.get(id).pidfds()
	h.do(err)
	defer func() { h.do(closeAll(monitor, first)) }()
	h.do(d.Close())
	h.do(unix.PidfdSendSignal(monitor, unix.SIGKILL, nil, 0))
	h.do(unix.PidfdSendSignal(first, unix.SIGKILL, nil, 0))
	h.ends(monitor)
	h.ends(first)
	if !d.payload(id).Exists() {
		h.Error("no control group is left, so this shows nothing")
	}
}

// TestWhatBearsNoIdentityIsTakenOver: daemons before identities started it, or the start was cut off before it had one.
func TestWhatBearsNoIdentityIsTakenOver(t *testing.T) {
	h := newHost(t)
	first := h.driver()
	p := h.start(first, h.marked("c1", one))
	h.bearsOne(first)
	for _, folder := range []string{first.payload("c1").Folder(), first.monitor("c1").Folder()} {
		h.do(unix.Removexattr(folder, cgroup.Identity))
	}
	second := h.driver()
	found, err := second.Find(h.context(), owns(another))
	h.do(err)
	if got := found["c1"]; got.Err != nil || got.UUID != "" || got.InitPID != p.InitPID {
		t.Errorf("found %+v", got)
	}
	h.do(second.Cleanup(h.context(), "c1", another))
	if second.payload("c1").Exists() {
		t.Error("its control group is left")
	}
}

func TestARestartFromInsideIsNotAnothers(t *testing.T) {
	for name, c := range map[string]struct {
		owner    runtime.Owner
		restarts bool
	}{"another": {owns(another), false}, "none": {nobody, false}, "the same": {owns(one), true}} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			d := h.driver()
			h.start(d, h.marked("c1", one))
			h.endsForRestart(d, "c1")
			next := h.driver()
			found, err := next.Find(h.context(), c.owner)
			h.do(err)
			if got := found["c1"]; got.Restart != c.restarts || c.restarts && got.UUID != one {
				t.Errorf("found %+v", found)
			}
		})
	}
}

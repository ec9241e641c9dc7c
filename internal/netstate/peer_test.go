package netstate

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/berthd/berth/internal/nettest"
)

// TestHostNameOfAVethPairInside: a guest that gave a pair of its own the indexes of another one's ends was shown with the other's interface on the
// host, and whatever counts or filters by that name took one for the other.
func TestHostNameOfAVethPairInside(t *testing.T) {
	nettest.Need(t, "ip", "nsenter")
	victim, guest := nettest.NewGuest(t), nettest.NewGuest(t)
	const other, inside = "4712", "4711" // indexes that nothing else has
	if out, err := exec.Command("ip", "link", "add", "victim0", "index", other, "type", "veth",
		"peer", "name", "eth0", "index", inside, "netns", strconv.Itoa(victim.PID)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "victim0").Run() }) // a namespace takes its own time to go
	guest.MustRun("ip", "link", "add", "evil0", "index", inside, "type", "veth", "peer", "name", "evil1", "index", other)
	state, err := State(guest.Namespace())
	if err != nil {
		t.Fatal(err)
	}
	if evil, ok := state["evil0"]; !ok || evil.HostName != "" {
		t.Errorf("a pair inside is shown with the host's %q", evil.HostName)
	}
	if state, err = State(victim.Namespace()); err != nil || state["eth0"].HostName != "victim0" {
		t.Errorf("%q, %v", state["eth0"].HostName, err)
	}

	// An end in a namespace that only the guest has, with such indexes, is none of the host's either.
	nested := nettest.NewGuest(t)
	guest.MustRun("ip", "link", "del", "evil0")
	guest.MustRun("ip", "link", "add", "evil0", "index", inside, "type", "veth", "peer", "name", "evil1", "index", other, "netns", strconv.Itoa(nested.PID))
	if state, err = State(guest.Namespace()); err != nil || state["evil0"].Mtu == 0 || state["evil0"].HostName != "" {
		t.Errorf("a pair between two guests is shown with the host's %q, %v", state["evil0"].HostName, err)
	}
}

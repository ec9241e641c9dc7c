package hostroute

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berthd/berth/internal/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

func newLink(t *testing.T, name string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	do(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
	link, err := netlink.LinkByName(name)
	do(t, err)
	do(t, netlink.LinkSetUp(link))
	t.Cleanup(func() { do(t, netlink.LinkDel(link)) })
	return link
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ip(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.ReplaceAll(string(out), " linkdown", "")
}

func prefixes(routes ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, r := range routes {
		all = append(all, netip.MustParsePrefix(r))
	}
	return all
}

// pair are two owners of which one takes the place of the other.
func pair(t *testing.T) (a, b Owner) {
	dir := t.TempDir()
	a = Owner{File: filepath.Join(dir, "a"), Partner: filepath.Join(dir, "b"), Protocol: unix.RTPROT_BOOT}
	return a, Owner{File: a.Partner, Partner: a.File, Protocol: unix.RTPROT_BOOT}
}

// TestWhoTakesAPlaceTakesTheRoutes, whichever of the two goes, and wherever the routes lead.
func TestWhoTakesAPlaceTakesTheRoutes(t *testing.T) {
	nettest.Need(t, "ip")
	one, two := newLink(t, "hr1"), newLink(t, "hr2")
	want := prefixes("10.60.0.0/24", "fd60::/64")
	is := func(on string) {
		t.Helper()
		v4, v6 := ip(t, "route", "show", "10.60.0.0/24"), ip(t, "-6", "route", "show", "fd60::/64")
		if on == "" && v4+v6 != "" || on != "" && (!strings.Contains(v4, "dev "+on) || !strings.Contains(v6, "dev "+on)) {
			t.Errorf("the routes are not on %q: %s%s", on, v4, v6)
		}
	}
	for _, other := range []netlink.Link{one, two} {
		for _, back := range []bool{false, true} {
			a, b := pair(t)
			do(t, a.Sync(one, want))
			do(t, b.Sync(other, want))
			is(other.Attrs().Name)
			left, on := b, other
			if back {
				do(t, b.Remove())
				do(t, a.Sync(one, want))
				left, on = a, one
			} else {
				do(t, a.Remove())
			}
			is(on.Attrs().Name)
			do(t, left.Sync(on, want))
			do(t, left.Remove())
			do(t, left.Remove())
			is("")
		}
	}
	if len(known) > 0 {
		t.Errorf("%v is known still", known)
	}
}

// TestNothingIsChangedWhereARouteIsTaken, nor recorded.
func TestNothingIsChangedWhereARouteIsTaken(t *testing.T) {
	nettest.Need(t, "ip")
	link := newLink(t, "hr3")
	a, _ := pair(t)
	do(t, a.Sync(link, prefixes("10.61.0.0/24")))
	defer func() { do(t, a.Remove()) }()
	ip(t, "route", "add", "10.62.0.0/24", "dev", "hr3")
	record, err := os.ReadFile(a.File)
	do(t, err)
	before := ip(t, "route")
	err = a.Sync(link, prefixes("10.63.0.0/24", "10.62.0.9/24"))
	if taken := (*TakenError)(nil); !errors.As(err, &taken) || !errors.Is(err, syscall.EEXIST) || taken.By != "hr3" {
		t.Errorf("the error is %v", err)
	}
	if now, _ := os.ReadFile(a.File); string(now) != string(record) || ip(t, "route") != before {
		t.Errorf("the record was %s and is %s, the routes were\n%s and are\n%s", record, now, before, ip(t, "route"))
	}
}

// TestRestoreBringsBackWhatTheKernelDropped, and stays away from what another has made since.
func TestRestoreBringsBackWhatTheKernelDropped(t *testing.T) {
	nettest.Need(t, "ip")
	link, other := newLink(t, "hr4"), newLink(t, "hr5")
	a, _ := pair(t)
	do(t, a.Sync(link, prefixes("10.64.0.0/24", "10.65.0.0/24")))
	ip(t, "route", "flush", "dev", "hr4")
	ip(t, "route", "add", "10.65.0.0/24", "dev", "hr5")
	Restore(other)
	if routes := ip(t, "route", "show", "dev", "hr4"); routes != "" {
		t.Errorf("what is on another interface came back: %s", routes)
	}
	Restore(link)
	do(t, a.Remove())
	if routes := ip(t, "route"); strings.Contains(routes, "10.64") || !strings.Contains(routes, "10.65.0.0/24 dev hr5") {
		t.Errorf("the routes are\n%s", routes)
	}
	do(t, a.Sync(link, prefixes("10.64.0.0/24")))
	ip(t, "route", "flush", "dev", "hr4")
	Restore(link)
	if routes := ip(t, "route"); !strings.Contains(routes, "10.64.0.0/24 dev hr4 scope link") {
		t.Errorf("the routes are\n%s", routes)
	}
	do(t, a.Remove())
}

// TestADefaultRouteIsARouteToo: in lists it has no destination.
func TestADefaultRouteIsARouteToo(t *testing.T) {
	nettest.Need(t, "ip")
	link := newLink(t, "hr6")
	a, b := pair(t)
	all := prefixes("0.0.0.0/0", "::/0")
	do(t, a.Sync(link, all))
	b.Partner = ""
	for _, p := range all {
		if err := b.Sync(link, []netip.Prefix{p}); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("a second default route: %v", err)
		}
	}
	do(t, a.Remove())
	if routes := ip(t, "route") + ip(t, "-6", "route", "show", "default"); strings.Contains(routes, "default") {
		t.Errorf("the routes are\n%s", routes)
	}
}

// TestAChangeOfNothingWritesNothing: it must work where there is no room.
func TestAChangeOfNothingWritesNothing(t *testing.T) {
	nettest.Need(t, "ip")
	link := newLink(t, "hr7")
	a, _ := pair(t)
	do(t, a.Sync(link, prefixes("10.66.0.0/24")))
	before, err := os.Stat(a.File)
	do(t, err)
	do(t, a.Sync(link, prefixes("10.66.0.0/24")))
	after, err := os.Stat(a.File)
	do(t, err)
	if !os.SameFile(before, after) {
		t.Error("the record was written again")
	}
	do(t, a.Remove())
	gone := Owner{File: filepath.Join(t.TempDir(), "gone", "x"), Protocol: unix.RTPROT_STATIC}
	if err := gone.Sync(link, prefixes("10.66.0.0/24")); err == nil || strings.Contains(ip(t, "route"), "10.66") {
		t.Errorf("a route that cannot be recorded was made: %v", err)
	}
	do(t, gone.Claim(link, func(netip.Prefix) bool { return true })) // there is none to record
}

func FuzzParse(f *testing.F) {
	good, _ := json.Marshal(record{"b", []route{{netip.MustParsePrefix("10.0.0.0/8"), 3}}})
	for _, s := range []string{string(good), `{"boot":"b","routes":[{"dst":"","link":1},{"dst":"::/0","link":-1}]}`, "", "[]", `{"boot":"c"}`} {
		f.Add([]byte(s))
	}
	if len(parse(good, "b")) != 1 || len(parse(good, "of another boot")) != 0 {
		f.Error("a record is not what was written, or is taken in another boot")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, r := range parse(data, "b") {
			if !r.Dst.IsValid() || r.Link <= 0 {
				t.Errorf("%v was taken", r)
			}
		}
	})
}

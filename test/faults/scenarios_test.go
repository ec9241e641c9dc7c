package faults

import (
	"strings"

	"github.com/berthd/berth/test/harness"
)

// scenario is one user-visible change that passes the fault points of a prefix.
type scenario struct {
	prefix string
	// setup are calls made before, teardown afterwards, in a healthy daemon.
	setup, teardown [][]string
	// act are the calls that pass the points.
	act [][]string
	// gone and there name what exists before and what after the change, as "list" and "name" ("instance c1").
	gone, there []string
	// mayFinish: a full disk at some points is no reason to fail the call.
	mayFinish bool
}

var scenarios = []*scenario{
	{prefix: "instance.create", act: calls("init bb c1"), there: []string{"c1"}, teardown: calls("delete -f c1")},
	{prefix: "instance.start", setup: calls("init bb c1"), act: calls("start c1"), teardown: calls("delete -f c1"), mayFinish: true},
	{prefix: "instance.stop", setup: calls("launch bb c1"), act: calls("stop -f c1"), teardown: calls("delete -f c1"), mayFinish: true},
	{prefix: "instance.delete", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("delete c1"), gone: []string{"c1"}, mayFinish: true},
	{prefix: "instance.rename", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("rename c1 c2"), gone: []string{"c1"}, there: []string{"c2"},
		teardown: calls("delete -f c2"), mayFinish: true},
	{prefix: "instance.copy", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("copy c1 c2"), there: []string{"c2"},
		teardown: calls("delete c2", "delete c1")},
	{prefix: "instance.snapshot.create", setup: calls("init bb c1"), act: calls("snapshot c1 s1"), there: []string{"c1/s1"}, teardown: calls("delete c1")},
	{prefix: "instance.snapshot.delete", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("delete c1/s1"), gone: []string{"c1/s1"},
		teardown: calls("delete c1"), mayFinish: true},
	{prefix: "instance.snapshot.rename", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("move c1/s1 c1/s2"), gone: []string{"c1/s1"},
		there: []string{"c1/s2"}, teardown: calls("delete c1"), mayFinish: true},
	{prefix: "instance.restore", setup: calls("init bb c1", "snapshot c1 s1"), act: calls("restore c1 s1"), teardown: calls("delete c1"), mayFinish: true},
}

// calls turns lines into argument lists.
func calls(lines ...string) [][]string {
	var list [][]string
	for _, l := range lines {
		list = append(list, strings.Fields(l))
	}
	return list
}

// scenarioOf finds the scenario with the longest prefix of a point's name.
func scenarioOf(point string) *scenario {
	var best *scenario
	for _, s := range scenarios {
		if (point == s.prefix || strings.HasPrefix(point, s.prefix+".")) && (best == nil || len(s.prefix) > len(best.prefix)) {
			best = s
		}
	}
	return best
}

func (s *scenario) before(d *harness.Daemon) {
	for _, args := range s.setup {
		d.Berth(args...)
	}
}

func (s *scenario) after(d *harness.Daemon) {
	for _, args := range s.teardown {
		d.Berth(args...)
	}
}

// exists asks the API for an object: "c1", "c1/s1", or "/1.0/…".
func exists(d *harness.Daemon, name string) bool {
	url := name
	if !strings.HasPrefix(name, "/") {
		url = "/1.0/instances/" + name
		if inst, snap, ok := strings.Cut(name, "/"); ok {
			url = "/1.0/instances/" + inst + "/snapshots/" + snap
		}
	}
	_, err := d.Try(harness.Program("berth"), "query", url)
	return err == nil
}

// check demands that the change has happened wholly or not at all.
func (s *scenario) check(d *harness.Daemon, point string) {
	d.T.Helper()
	happened, not := 0, 0
	for _, name := range s.there {
		if exists(d, name) {
			happened++
		} else {
			not++
		}
	}
	for _, name := range s.gone {
		if exists(d, name) {
			not++
		} else {
			happened++
		}
	}
	if happened > 0 && not > 0 {
		d.T.Errorf("%s: the change has happened by half: there %v, gone %v\n%s", point, s.there, s.gone, d.Log())
	}
	// Whatever is listed must be whole: its state can be asked for.
	for _, name := range strings.Fields(d.Berth("list", "--format", "csv", "--columns", "n")) {
		d.Berth("info", name)
	}
}

// done tells whether the change was finished by the recovery, so that the call need not be made again.
func (s *scenario) done(d *harness.Daemon, args []string) bool {
	if len(s.there)+len(s.gone) == 0 {
		switch args[0] {
		case "start":
			return running(d, args[1])
		case "stop":
			return !running(d, args[len(args)-1])
		}
		return false
	}
	for _, name := range s.there {
		if !exists(d, name) {
			return false
		}
	}
	for _, name := range s.gone {
		if exists(d, name) {
			return false
		}
	}
	return true
}

func running(d *harness.Daemon, name string) bool {
	return strings.TrimSpace(d.Berth("list", "^"+name+"$", "--format", "csv", "--columns", "s")) == "RUNNING"
}

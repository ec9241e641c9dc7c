package faults

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/test/harness"
)

// scenario is one change that a user asks for and the fault points that it passes.
type scenario struct {
	name   string
	points []string // names, or prefixes of names up to a dot
	// setup are calls made before, in a healthy daemon; teardown are those that lead back to the state before setup.
	setup, teardown [][]string
	// env is for the daemon that is in trouble.
	env []string
	// act are the calls that pass the points.
	act [][]string
	// gone and there are URLs (beneath /1.0/) of what the change takes away and makes.
	gone, there []string
	// happened tells whether the change has happened, where gone and there cannot.
	happened func(d *harness.Daemon) bool
	// holds has to be so at all times: a change that stops an instance on its way, say, leaves it running.
	holds func(d *harness.Daemon) bool
	// again: the change can be made any number of times, so it is made again in any case.
	again bool
	// mayFinish: a full disk at some of the points is no reason to fail the call.
	mayFinish bool
	// late: what has begun to be taken away is wholly gone after the daemon's next start, not before.
	late bool
}

const (
	onec1  = "instances/c1"
	snaps1 = "instances/c1/snapshots/s1"
	bridge = "network create nb0 ipv4.address=10.77.1.1/24 ipv4.nat=true ipv6.address=none"
)

// plugPoints are those of a change of what runs that takes nothing away: after its record nothing is left to do.
var plugPoints = list("instance.update.begun", "instance.update.started", "instance.update.limited", "instance.update.changed",
	"instance.update.unplugged", "instance.update.plugged")

var scenarios = []*scenario{
	{name: "create", points: list("instance.create"), act: calls("init bb c1"), there: list(onec1), teardown: calls("delete -f c1")},
	{name: "create from a new image", points: list("storage.image.prepared", "storage.dir.volume.filled"),
		setup: calls("image import $TINY --alias tiny"), act: calls("init tiny c1"), there: list(onec1),
		teardown: calls("delete c1", "image delete tiny")},
	{name: "start", points: list("instance.start", "lxc.start", "nic.start", "route"),
		setup: calls(bridge, "init bb c1", "config device add c1 eth0 nic network=nb0 name=eth0 ipv4.routes=10.77.5.0/24"), act: calls("start c1"), happened: running,
		teardown: calls("delete -f c1", "network delete nb0")},
	{name: "start with files to shift", points: list("instance.shift"), env: list("BERTH_IDMAPPED_MOUNTS_DISABLE=1"),
		setup: calls("init bb c1"), act: calls("start c1"), happened: running, teardown: calls("delete -f c1")},
	{name: "stop", points: list("instance.stop"), setup: calls("launch bb c1"), act: calls("stop -f c1"), happened: stopped,
		teardown: calls("delete -f c1"), mayFinish: true},
	{name: "delete", points: list("instance.delete", "storage.dir.delete"), setup: calls("init bb c1", "snapshot c1 s1"), act: calls("delete c1"),
		gone: list(onec1, snaps1), late: true},
	{name: "rename", points: list("instance.rename", "storage.dir.rename", "storage.volume.renamed"),
		setup: calls("init bb c1", "snapshot c1 s1"), act: calls("rename c1 c2"), gone: list(onec1, snaps1),
		there: list("instances/c2", "instances/c2/snapshots/s1"), teardown: calls("delete -f c2")},
	{name: "copy", points: list("instance.copy.snapshot", "instance.create"), setup: calls("init bb c1", "snapshot c1 s1"), act: calls("copy c1 c2"),
		there: list("instances/c2", "instances/c2/snapshots/s1"), teardown: calls("delete c2", "delete c1")},
	{name: "copy what runs", points: list("instance.copy.frozen"), setup: calls("launch bb c1"), act: calls("copy c1 c2"),
		there: list("instances/c2"), teardown: calls("delete c2", "delete -f c1")},
	{name: "refresh", points: list("instance.refresh"), setup: calls("init bb c1", "copy c1 c2", "snapshot c1 s1"), act: calls("copy c1 c2 --refresh"),
		mayFinish: true, again: true, teardown: calls("delete c2", "delete c1")},
	{name: "move to another pool", points: list("instance.move"), setup: calls("storage create p2 dir", "init bb c1", "snapshot c1 s1"),
		act: calls("move c1 c1 --storage p2"), gone: list("storage-pools/default/volumes/container/c1"),
		there: list("storage-pools/p2/volumes/container/c1"), teardown: calls("delete c1", "storage delete p2"), mayFinish: true},
	{name: "snapshot", points: list("instance.snapshot.create", "storage.dir.snapshot"), setup: calls("init bb c1"), act: calls("snapshot c1 s1"),
		there: list(snaps1), teardown: calls("delete c1")},
	{name: "delete a snapshot", points: list("instance.snapshot.delete", "storage.dir.delete"), setup: calls("init bb c1", "snapshot c1 s1"),
		act: calls("delete c1/s1"), gone: list(snaps1), teardown: calls("delete c1"), late: true},
	{name: "rename a snapshot", points: list("instance.snapshot.rename", "storage.volume.renamed"), setup: calls("init bb c1", "snapshot c1 s1"),
		act: calls("move c1/s1 c1/s2"), gone: list(snaps1), there: list("instances/c1/snapshots/s2"), teardown: calls("delete c1")},
	{name: "restore a custom volume", points: list("storage.dir.restore"),
		setup: calls("storage volume create default v1", "storage volume snapshot default v1 s1"), act: calls("storage volume restore default v1 s1"),
		again: true, teardown: calls("storage volume delete default v1"), mayFinish: true},
	{name: "restore", points: list("instance.restore"), setup: calls("init bb c1", "snapshot c1 s1"),
		act: calls("restore c1 s1"), again: true, teardown: calls("delete c1"), mayFinish: true},
	{name: "restore what runs", points: list("instance.restore"), setup: calls("launch bb c1", "snapshot c1 s1"), act: calls("restore c1 s1"),
		holds: running, again: true, teardown: calls("delete -f c1"), mayFinish: true},
	{name: "change limits of what runs, and plug a disk", points: plugPoints, setup: calls("launch bb c1"),
		act:      calls(`query -X PATCH -d {"config":{"limits.memory":"128MiB"},"devices":{"data":{"type":"disk","source":"$SRC","path":"/mnt"}}} /1.0/instances/c1`),
		happened: plugged("data"), teardown: calls("delete -f c1"), mayFinish: true},
	{name: "replace a NIC of what runs", points: list("instance.update", "nic.start"),
		setup: calls(bridge, "launch bb c1", "config device add c1 eth0 nic network=nb0 name=eth0 hwaddr=00:16:3e:00:00:01 ipv4.routes=10.77.5.0/24"),
		act:   calls("config device set c1 eth0 hwaddr 00:16:3e:00:00:02"), happened: hwaddr("00:16:3e:00:00:02"),
		teardown: calls("delete -f c1", "network delete nb0"), mayFinish: true},
	{name: "unplug a NIC", points: list("instance.update"), setup: calls("launch bb c1", "config device add c1 eth0 nic nictype=p2p name=eth0"),
		act: calls("config device remove c1 eth0"), happened: not(plugged("eth0")), teardown: calls("delete -f c1"), mayFinish: true},
	{name: "change a profile of what runs", points: append(list("nic.start"), plugPoints...),
		setup: calls("profile create p", "launch bb c1 -p default -p p", "launch bb c2 -p default -p p"),
		act:   calls(`query -X PUT -d {"config":{"limits.memory":"128MiB"},"devices":{"eth0":{"type":"nic","nictype":"p2p","name":"eth0"}}} /1.0/profiles/p`),
		happened: func(d *harness.Daemon) bool {
			var p struct{ Devices map[string]any }
			return get(d, "profiles/p", &p) && p.Devices["eth0"] != nil
		}, teardown: calls("delete -f c1", "delete -f c2", "profile delete p"), mayFinish: true},
	{name: "rename a profile", points: list("profile.rename"), setup: calls("profile create p", "init bb c1 -p default -p p", "snapshot c1 s1"),
		act: calls("profile rename p q"), gone: list("profiles/p"), there: list("profiles/q"), teardown: calls("delete c1", "profile delete q")},
	{name: "delete a profile that an image names", points: list("profile.delete"),
		setup: calls("profile create p", "image import $TINY --alias tiny", `query -X PATCH -d {"profiles":["default","p"]} /1.0/images/`+tinyPrint),
		act:   calls("profile delete p"), gone: list("profiles/p"),
		happened: func(d *harness.Daemon) bool {
			var img struct{ Profiles []string }
			return get(d, "images/"+tinyPrint, &img) && !slices.Contains(img.Profiles, "p")
		}, teardown: calls("image delete tiny"), mayFinish: true},
	{name: "rename a project of many tokens", points: list("project.named"), setup: slices.Concat(calls("config set core.https_address=127.0.0.1:18443", "project create e"), each("config trust add -q --name t%d --restricted --projects e")),
		act: calls("project rename e e2"), gone: list("projects/e"), there: list("projects/e2"),
		teardown: slices.Concat(each("config trust revoke-token t%d"), calls("project delete e2", "config unset core.https_address"))},
	{name: "plug a disk", points: plugPoints, setup: calls("launch bb c1"),
		act: calls("config device add c1 data disk source=$SRC path=/mnt"), happened: plugged("data"), teardown: calls("delete -f c1"), mayFinish: true},
	{name: "plug a NIC", points: append(list("nic.start"), plugPoints...), setup: calls("launch bb c1"),
		act: calls("config device add c1 eth0 nic nictype=p2p name=eth0"), happened: plugged("eth0"), teardown: calls("delete -f c1"), mayFinish: true},

	{name: "import an image", points: list("image.import"), act: calls("image import $TINY"), there: list("images/" + tinyPrint),
		teardown: calls("image delete " + tinyPrint), mayFinish: true},
	{name: "publish", points: list("image.import"), setup: calls("init bb c1"), act: calls("publish c1 --alias pub"),
		there: list("images/aliases/pub"), teardown: calls("image delete pub", "delete c1"), mayFinish: true},
	{name: "delete an image", points: list("image.delete", "storage.dir.delete"),
		setup: calls("image import $TINY --alias tiny", "init tiny c1", "delete c1"), act: calls("image delete tiny"),
		gone: list("images/aliases/tiny"), late: true},

	{name: "create a pool", points: list("storage.pool.create"), act: calls("storage create p2 dir source=$POOL"), there: list("storage-pools/p2"),
		teardown: calls("storage delete p2")},
	{name: "delete a pool", points: list("storage.pool.delete"), setup: calls("storage create p2 dir source=$POOL"), act: calls("storage delete p2"),
		gone: list("storage-pools/p2")},
	{name: "create a volume", points: list("storage.volume.create"), act: calls("storage volume create default v1"),
		there: list("storage-pools/default/volumes/custom/v1"), teardown: calls("storage volume delete default v1")},
	{name: "delete a volume", points: list("storage.volume.delete", "storage.dir.delete"), setup: calls("storage volume create default v1"),
		act: calls("storage volume delete default v1"), gone: list("storage-pools/default/volumes/custom/v1"), late: true},
	{name: "rename a volume", points: list("storage.volume.rename", "storage.volume.renamed", "storage.dir.rename"),
		setup: calls("storage volume create default v1", "storage volume snapshot default v1 s1"), act: calls("storage volume rename default v1 v2"),
		gone:     list("storage-pools/default/volumes/custom/v1", "storage-pools/default/volumes/custom/v1/snapshots/s1"),
		there:    list("storage-pools/default/volumes/custom/v2", "storage-pools/default/volumes/custom/v2/snapshots/s1"),
		teardown: calls("storage volume delete default v2")},

	{name: "create a network", points: list("network.create", "network.link", "network.dnsmasq"), act: calls(bridge), there: list("networks/nb0"), teardown: calls("network delete nb0")},
	{name: "delete a network", points: list("network.delete"), setup: calls(bridge), act: calls("network delete nb0"), gone: list("networks/nb0")},
	{name: "rename a network", points: list("network.rename"), setup: calls(bridge), act: calls("network rename nb0 nb1"), gone: list("networks/nb0"),
		there: list("networks/nb1"), teardown: calls("network delete nb1")},
	{name: "change the routes of a NIC", points: list("route"),
		setup: calls(bridge, "launch bb c1", "config device add c1 eth0 nic network=nb0 name=eth0 ipv4.routes=10.77.5.0/24"),
		act:   calls("config device set c1 eth0 ipv4.routes=10.77.6.0/24"),
		happened: func(d *harness.Daemon) bool {
			var c struct{ Devices map[string]map[string]string }
			return get(d, onec1, &c) && c.Devices["eth0"]["ipv4.routes"] == "10.77.6.0/24"
		}, teardown: calls("delete -f c1", "network delete nb0"), mayFinish: true},
	{name: "change the routes of a network", points: list("route"), setup: calls(bridge, "network set nb0 ipv4.routes=10.77.5.0/24"),
		act:      calls("network set nb0 ipv4.routes=10.77.6.0/24"),
		happened: func(d *harness.Daemon) bool { return config(d, "networks/nb0")["ipv4.routes"] == "10.77.6.0/24" },
		teardown: calls("network delete nb0"), mayFinish: true},
	{name: "update a network", points: list("network.update", "network.dnsmasq"), setup: calls(bridge), act: calls("network set nb0 ipv4.dhcp=false"),
		happened: func(d *harness.Daemon) bool { return config(d, "networks/nb0")["ipv4.dhcp"] == "false" },
		teardown: calls("network delete nb0")},
}

// calls turns lines into argument lists.
func calls(lines ...string) [][]string {
	var all [][]string
	for _, l := range lines {
		all = append(all, strings.Fields(l))
	}
	return all
}

// each are calls with one more number than what a project is named by follows it in one commit.
func each(line string) [][]string {
	var lines []string
	for n := range 66 {
		lines = append(lines, fmt.Sprintf(line, n))
	}
	return calls(lines...)
}

func list(s ...string) []string { return s }

// passes tells whether the scenario passes a point.
func (s *scenario) passes(point string) bool {
	return slices.ContainsFunc(s.points, func(p string) bool { return point == p || strings.HasPrefix(point, p+".") })
}

// of picks the points of a scenario.
func (s *scenario) of(points []string) []string {
	return slices.DeleteFunc(slices.Clone(points), func(p string) bool { return !s.passes(p) })
}

func running(d *harness.Daemon) bool { return status(d, "c1") == "Running" }
func stopped(d *harness.Daemon) bool { return status(d, "c1") == "Stopped" }

// plugged tells whether c1 has a device.
func plugged(device string) func(d *harness.Daemon) bool {
	return func(d *harness.Daemon) bool {
		var i struct{ Devices map[string]any }
		return get(d, onec1, &i) && i.Devices[device] != nil
	}
}

func not(f func(d *harness.Daemon) bool) func(d *harness.Daemon) bool {
	return func(d *harness.Daemon) bool { return !f(d) }
}

// hwaddr tells whether eth0 of c1 is to have an address.
func hwaddr(want string) func(d *harness.Daemon) bool {
	return func(d *harness.Daemon) bool {
		var i struct{ Devices map[string]map[string]string }
		return get(d, onec1, &i) && i.Devices["eth0"]["hwaddr"] == want
	}
}

// done tells whether the change has happened.
func (s *scenario) done(d *harness.Daemon) bool {
	if s.again {
		return false
	}
	if s.happened != nil {
		return s.happened(d)
	}
	for _, url := range s.there {
		if !get(d, url, nil) {
			return false
		}
	}
	for _, url := range s.gone {
		if get(d, url, nil) {
			return false
		}
	}
	return true
}

// half tells whether some of the change has happened and some has not.
func (s *scenario) half(d *harness.Daemon) bool {
	happened, not := 0, 0
	count := func(b bool) {
		if b {
			happened++
		} else {
			not++
		}
	}
	for _, url := range s.there {
		count(get(d, url, nil))
	}
	for _, url := range s.gone {
		count(!get(d, url, nil))
	}
	return happened > 0 && not > 0
}

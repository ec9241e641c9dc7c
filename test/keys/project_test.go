package keys_test

import (
	"testing"

	"github.com/berthd/berth/internal/project"
)

// Observers of projects make one, "p", with the key or without, and take it away again.
const projects = `
make() { $BERTH project create p "$@" >/dev/null; }
gone() { $BERTH project delete p; }
share() { make -c features.profiles=false -c features.images=false "$@"; }
init() { $BERTH init bb "$@" --project p 2>&1 | grep Error; }
limit() { $BERTH project set p "$@"; }
strict() { make -c features.images=false -c restricted=true "$@"; $BERTH profile device add default root disk path=/ pool=default --project p >/dev/null; }
drop() { $BERTH delete -f "$@" --project p; gone; }
`

var projectEntries = []entry{
	{key: "features.images", sh: `share; $BERTH image list --project p -f csv -c l; gone; make -c features.images=true; $BERTH image list --project p -f csv -c l; gone`, want: `^bb\nProject p deleted\nProject p deleted\n$`},
	{key: "features.profiles", sh: `share; $BERTH profile show default --project p | grep -c 'path: /'; gone; make; $BERTH profile show default --project p | grep -c 'path: /'; gone`, want: `^1\n[^\n]*\n0\n`},
	{key: "features.networks", sh: `$BERTH network create kn0 ipv4.address=none ipv6.address=none >/dev/null; make; $BERTH network list --project p -f csv | grep -c ^kn0,; gone; make -c features.networks=true; $BERTH network list --project p -f csv | grep -c ^kn0,; gone; $BERTH network delete kn0`, want: `^1\n[^\n]*\n0\n`},
	{key: "features.storage.volumes", sh: `make -c features.storage.volumes=false; $BERTH storage volume create default pv --project p; ls $DIR/storage-pools/default/custom; $BERTH storage volume delete default pv; gone
		make; $BERTH storage volume create default pv --project p; ls $DIR/storage-pools/default/custom; $BERTH storage volume delete default pv --project p; gone`, want: `default_pv\n.*\np_pv\n`},
	{key: "images.compression_algorithm", sh: `share -c images.compression_algorithm=zstd; init pa; $BERTH publish pa --alias packed --project p >/dev/null; od -An -tx1 -N4 $DIR/images/$($BERTH query /1.0/images/aliases/packed | sed -n 's/.*"target": *"\(.*\)".*/\1/p'); $BERTH image delete packed; drop pa`, want: `^ 28 b5 2f fd\n`},
	{key: "images.default_architecture", reason: "it is asked where the server's is (keys of the server), with the project's name: internal/image, TestAProjectHasItsOwnSettings"},
	{key: "images.auto_update_cached", reason: "it is for images that other servers change, after hours: internal/image does it with a clock of its own (TestAProjectHasItsOwnSettings)"},
	{key: "images.auto_update_interval", reason: "it is for images that other servers change, after hours: internal/image does it with a clock of its own (TestAProjectHasItsOwnSettings)"},
	{key: "images.remote_cache_expiry", reason: "it counts days: internal/image does it with a clock of its own (TestAProjectHasItsOwnSettings)"},
	{key: "limits.instances", sh: `share -c limits.instances=1; init a; init b; drop a`, want: `^Error: Reached maximum number of instances in project "p"`},
	{key: "limits.containers", sh: `share -c limits.containers=1; init a; init b; drop a`, want: `^Error: Reached maximum number of instances of type "container"`},
	{key: "limits.virtual-machines", reason: "this server makes none, so none is refused for it; a count of them is taken and checked as that of containers (internal/project: TestLimitsThatAreTooLow)"},
	{key: "limits.networks", reason: "a project with networks of its own can have none yet, so none is refused for it"},
	{key: "limits.memory", sh: `share -c limits.memory=64MiB; init a; init a -c limits.memory=65MiB; init a -c limits.memory=64MiB; $BERTH config set a limits.memory=65MiB --project p; drop a`, want: `^Error: [^\n]*has no "limits.memory"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nError: [^\n]*Reached maximum`},
	{key: "limits.cpu", sh: `share -c limits.cpu=2; init a -c limits.cpu=0-1; init a -c limits.cpu=3; init a -c limits.cpu=2; drop a`, want: `^Error: [^\n]*Failed parsing "limits.cpu"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nProject p deleted`},
	{key: "limits.processes", sh: `share -c limits.processes=9; init a -c limits.processes=10; init a -c limits.processes=9; drop a`, want: `^Error: [^\n]*Reached maximum[^\n]*\nProject p deleted`},
	{key: "limits.disk", sh: `share -c limits.disk=64MiB; $BERTH storage volume create default v --project p; $BERTH storage volume create default v size=65MiB --project p; $BERTH storage volume create default v size=64MiB --project p; $BERTH storage volume set default v size=65MiB --project p; $BERTH storage volume delete default v --project p; gone`,
		want: `^Error: [^\n]*has no "size"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nStorage volume v created\nError: [^\n]*Reached maximum`},
	{key: "restricted", sh: `strict; init a -c security.nesting=true; limit restricted=false; init a -c security.nesting=true; limit restricted=true; drop a`, want: `^Error: [^\n]*nesting is forbidden\nError: Conflict detected`},
	{key: "restricted.containers.nesting", sh: `strict -c restricted.containers.nesting=allow; init a -c security.nesting=true; limit restricted.containers.nesting=block; drop a`, want: `^Error: Conflict detected[^\n]*nesting is forbidden`},
	{key: "restricted.containers.lowlevel", sh: `strict; init a -c raw.lxc=lxc.log.level=1; limit restricted.containers.lowlevel=allow; init a -c raw.lxc=lxc.log.level=1; drop a`, want: `^Error: [^\n]*"raw.lxc"[^\n]* is forbidden\nProject p deleted`},
	{key: "restricted.containers.privilege", sh: `strict; init a -c security.privileged=true; limit restricted.containers.privilege=isolated; init a; init a -c security.idmap.isolated=true; drop a`, want: `^Error: [^\n]*Privileged containers are forbidden\nError: [^\n]*Non-isolated containers are forbidden\nProject p deleted`},
	{key: "restricted.devices.disk", sh: `strict; init a; add() { $BERTH config device add a d disk path=/d --project p "$@" 2>&1; }; add source=$DIR; $BERTH storage volume create default rv --project p; add pool=default source=rv; $BERTH config device remove a d --project p; limit restricted.devices.disk=block; add pool=default source=rv; limit restricted.devices.disk=allow; add source=$DIR; $BERTH storage volume delete default rv --project p; drop a`,
		want: `^Error: [^\n]*not backed by a pool is forbidden\nStorage volume rv created\nDevice d added[^\n]*\nDevice d removed[^\n]*\nError: [^\n]*Disk devices are forbidden\nDevice d added`},
	{key: "restricted.devices.disk.paths", sh: `mkdir -p $DIR/k1/in $DIR/k1/out; ln -sfn ../out $DIR/k1/in/link; strict -c restricted.devices.disk=allow -c restricted.devices.disk.paths=/no/such,$DIR/k1/in; init a; add() { $BERTH config device add a d disk path=/d --project p "$@" 2>&1; }; add source=$DIR/k1/out; add source=$DIR/k1/in/../out; add source=$DIR/k1/in; $BERTH start a --project p 2>&1; $BERTH stop -f a --project p; $BERTH config device set a d source=$DIR/k1/in/link --project p; $BERTH start a --project p 2>&1 | grep Error; limit restricted.devices.disk.paths=$DIR/k1/out; rm -r $DIR/k1; drop a`,
		want: `^Error: [^\n]*not allowed\nError: [^\n]*not allowed\nDevice d added to a\nError: [^\n]*resolves outside of[^\n]*\nError: Conflict detected[^\n]*not allowed\n`},
	{key: "restricted.idmap.uid", sh: `strict; init a; id() { $BERTH config set a raw.idmap="$1" --project p 2>&1; }; id "uid 1000 1000"; limit restricted.idmap.uid=1000,2000-2999; id "uid 1000 1000"; id "uid 2990-3000 2990-3000"; id "both 1000 1000"; limit restricted.idmap.uid=; drop a`,
		want: `^Error: [^\n]*"raw.idmap" element 0[^\n]*\nError: [^\n]*forbidden\nError: [^\n]*forbidden\nError: Conflict detected[^\n]*\nProject p deleted`},
	{key: "restricted.idmap.gid", sh: `strict; init a; id() { $BERTH config set a raw.idmap="$1" --project p 2>&1; }; id "gid 1000 1000"; limit restricted.idmap.gid=1000-1999; id "gid 1000 1000"; id "gid 1000-2000 1000-2000"; id "both 1000 1000"; drop a`,
		want: `^Error: [^\n]*"raw.idmap" element 0[^\n]*\nError: [^\n]*forbidden\nError: [^\n]*forbidden\nProject p deleted`},
	{key: "restricted.cluster.groups", reason: "this server has no cluster yet, so no group of members can be chosen, in whatever project"},
	{key: "restricted.networks.subnets", reason: "no project can have networks of its own yet, with an uplink or without; which subnets can be named: internal/project, TestValuesOfRestrictions"},
	{key: "restricted.networks.uplinks", reason: "no project can have networks of its own yet, with an uplink or without"},
	{key: "restricted.networks.zones", reason: "this server has no DNS zones yet, in whatever project"},
	{key: "backups.compression_algorithm", reason: "this server makes no backups yet, in whatever project; which values there are: internal/project, TestValuesOfRestrictions"},
	{key: "restricted.devices.nic", sh: `$BERTH network create kn1 ipv4.address=none ipv6.address=none >/dev/null; strict; init a; add() { $BERTH config device add a n nic --project p "$@" 2>&1; }; add nictype=p2p; add nictype=bridged parent=kn1; add network=kn1 ipv4.routes=10.9.9.0/24; add network=kn1; limit restricted.devices.nic=block; $BERTH config device remove a n --project p; limit restricted.devices.nic=block; add network=kn1; $BERTH network show kn1 --project p; drop a; $BERTH network delete kn1`,
		want: `^Error: [^\n]*Only managed[^\n]*\nError: [^\n]*Only managed[^\n]*\nError: [^\n]*"ipv4.routes" is forbidden\nDevice n added[^\n]*\nError: Conflict[^\n]*\nDevice n removed[^\n]*\nError: [^\n]*Network devices are forbidden\nError: Network not found`},
	{key: "restricted.networks.access", sh: `for n in kn2 kn3; do $BERTH network create $n ipv4.address=none ipv6.address=none >/dev/null; done; strict -c restricted.networks.access=kn2; $BERTH network list --project p -f csv | grep -o ^kn.; init a; for n in kn2 kn3; do $BERTH config device add a $n nic network=$n --project p 2>&1; done; drop a; $BERTH network delete kn2 kn3`,
		want: `^kn2\nDevice kn2 added[^\n]*\nError: [^\n]*forbidden`},
	{key: "restricted.snapshots", sh: `strict; init a; $BERTH snapshot a s --project p 2>&1; limit restricted.snapshots=allow; $BERTH snapshot a s --project p; drop a`, want: `^Error: Project "p" doesn't allow for snapshot creation\nProject p deleted`},
	{key: "restricted.backups", reason: "this server makes no backups yet, in whatever project"},
	{key: "restricted.cluster.target", reason: "this server has no cluster yet, so no member can be chosen"},
	{key: "restricted.containers.interception", reason: "this server intercepts no system calls yet, in whatever project"},
	{key: "restricted.virtual-machines.lowlevel", reason: "this server makes no virtual machines yet"},
	{key: "restricted.devices.gpu", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.infiniband", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.pci", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.proxy", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.unix-block", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.unix-char", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.unix-hotplug", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "restricted.devices.usb", reason: "this server has no devices of the type yet; what a type that says nothing of restricted projects is held to: internal/instance, TestDevicesOfUnknownTypes"},
	{key: "user.*", sh: `make -c user.keys=walked; $BERTH project get p user.keys; gone`, want: `^walked\n`},
}

func TestEveryKeyOfAProject(t *testing.T) {
	complete(t, project.Keys, projectEntries)
	w := newWorld(t)
	for n := range projectEntries {
		if projectEntries[n].sh != "" {
			projectEntries[n].sh = projects + projectEntries[n].sh
		}
	}
	w.observe(t, projectEntries)
	w.Berth("project", "create", "p")
	refuse(t, projectEntries, func(e entry) error { return w.try("project", "set", "p", e.keyValue()) })
}

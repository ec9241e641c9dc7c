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
drop() { $BERTH delete -f "$@" --project p; gone; }
`

var projectEntries = []entry{
	{key: "features.images", sh: `share; $BERTH image list --project p -f csv -c l; gone; make -c features.images=true; $BERTH image list --project p -f csv -c l; gone`, want: `^bb\nProject p deleted\nProject p deleted\n$`},
	{key: "features.profiles", sh: `share; $BERTH profile show default --project p | grep -c 'path: /'; gone; make; $BERTH profile show default --project p | grep -c 'path: /'; gone`, want: `^1\n[^\n]*\n0\n`},
	{key: "features.networks", sh: `$BERTH network create kn0 ipv4.address=none ipv6.address=none >/dev/null; make; $BERTH network list --project p -f csv | grep -c ^kn0,; gone; make -c features.networks=true; $BERTH network list --project p -f csv | grep -c ^kn0,; gone; $BERTH network delete kn0`, want: `^1\n[^\n]*\n0\n`},
	{key: "features.storage.volumes", sh: `make -c features.storage.volumes=false; $BERTH storage volume create default pv --project p; ls $DIR/storage-pools/default/custom; $BERTH storage volume delete default pv; gone
		make; $BERTH storage volume create default pv --project p; ls $DIR/storage-pools/default/custom; $BERTH storage volume delete default pv --project p; gone`, want: `default_pv\n.*\np_pv\n`},
	{key: "limits.instances", sh: `share -c limits.instances=1; init a; init b; drop a`, want: `^Error: Reached maximum number of instances in project "p"`},
	{key: "limits.containers", sh: `share -c limits.containers=1; init a; init b; drop a`, want: `^Error: Reached maximum number of instances of type "container"`},
	{key: "limits.virtual-machines", reason: "this server makes none, so none is refused for it; a count of them is taken and checked as that of containers (internal/project: TestLimitsThatAreTooLow)"},
	{key: "limits.networks", reason: "a project with networks of its own can have none yet, so none is refused for it"},
	{key: "limits.memory", sh: `share -c limits.memory=64MiB; init a; init a -c limits.memory=65MiB; init a -c limits.memory=64MiB; $BERTH config set a limits.memory=65MiB --project p; drop a`, want: `^Error: [^\n]*has no "limits.memory"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nError: [^\n]*Reached maximum`},
	{key: "limits.cpu", sh: `share -c limits.cpu=2; init a -c limits.cpu=0-1; init a -c limits.cpu=3; init a -c limits.cpu=2; drop a`, want: `^Error: [^\n]*Failed parsing "limits.cpu"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nProject p deleted`},
	{key: "limits.processes", sh: `share -c limits.processes=9; init a -c limits.processes=10; init a -c limits.processes=9; drop a`, want: `^Error: [^\n]*Reached maximum[^\n]*\nProject p deleted`},
	{key: "limits.disk", sh: `share -c limits.disk=64MiB; $BERTH storage volume create default v --project p; $BERTH storage volume create default v size=65MiB --project p; $BERTH storage volume create default v size=64MiB --project p; $BERTH storage volume set default v size=65MiB --project p; $BERTH storage volume delete default v --project p; gone`,
		want: `^Error: [^\n]*has no "size"[^\n]*\nError: [^\n]*Reached maximum[^\n]*\nStorage volume v created\nError: [^\n]*Reached maximum`},
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
}

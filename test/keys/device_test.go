package keys_test

import (
	"slices"
	"testing"

	"github.com/berthd/berth/internal/driver/device/disk"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/driver/device/none"
)

// Observers of devices add one to the running instance "c" (an unprivileged one), look inside, and take it away again.
const devices = `
add() { $BERTH config device add c d "$@" >/dev/null; }
gone() { $BERTH config device remove c d >/dev/null; }
disk() { add disk source=$DIR/src path=/d "$@"; }
host_end() { $BERTH config get c volatile.d.host_name; }
`

var noneEntries = []entry{
	{key: "type", sh: `add none && $BERTH config device get c d type; gone`, want: `^none\n$`},
	{key: "user.*", sh: `add none user.a=b && $BERTH config device get c d user.a; gone`, want: `^b\n$`},
}

var diskEntries = []entry{
	{key: "type", sh: `disk && inside cat /d/file; gone; inside cat /d/file`, want: `^text\n.*No such file`},
	{key: "path", sh: `add disk source=$DIR/src path=/elsewhere && inside cat /elsewhere/file; gone`, want: `^text\n`},
	{key: "source", sh: `add disk source=$DIR/src/file path=/f && inside cat /f; gone`, want: `^text\n`},
	{key: "pool", sh: `$BERTH storage volume create default v >/dev/null; touch $DIR/storage-pools/default/custom/default_v/here; add disk pool=default source=v path=/d && inside ls /d; gone; $BERTH storage volume delete default v`, want: `^here\n`},
	{key: "size", sh: `$BERTH config device override c root size=7MiB; grep size=7340032 $DIR/berthd.log; $BERTH config device remove c root`, want: `size of a volume is not enforced`},
	{key: "size.state", set: "1MiB", refused: true},
	{key: "readonly", sh: `disk readonly=true && inside touch /d/x; gone`, want: `Read-only file system`},
	{key: "recursive", sh: `mount -t tmpfs keys $DIR/src/below && touch $DIR/src/below/deep; disk recursive=true && inside ls /d/below; gone; disk && inside ls /d/below | wc -l; gone; umount $DIR/src/below`, want: `^deep\n0\n$`},
	{key: "required", sh: `add disk source=$DIR/none path=/d required=false && echo taken; gone; add disk source=$DIR/none path=/d required=true`, want: `^taken\n.*Missing source path`},
	{key: "optional", sh: `add disk source=$DIR/none path=/d optional=true && echo taken; gone`, want: `^taken\n`},
	{key: "shift", sh: `disk shift=true && run stat -c %u /d/file; gone; disk && run stat -c %u /d/file; gone`, want: `^0\n65534\n`},
	{key: "propagation", sh: `mount --bind $DIR/src $DIR/src && mount --make-shared $DIR/src; disk propagation=rslave && grep ' /d ' /proc/$PID/mountinfo; gone; umount $DIR/src`, want: ` master:`},
	{key: "raw.mount.options", sh: `disk raw.mount.options=noexec && grep ' /d ' /proc/$PID/mountinfo; gone`, want: `noexec`},
	{key: "limits.read", set: "10MB", refused: true},
	{key: "limits.write", set: "30iops", refused: true},
	{key: "limits.max", set: "1MB", refused: true},
	{key: "boot.priority", reason: "it orders what firmware boots from, which containers have none of: LXD does nothing with it for them either"},
	{key: "ceph.cluster_name", sh: `disk ceph.cluster_name=x`, want: `Invalid options ceph.cluster_name`},
	{key: "ceph.user_name", sh: `disk ceph.user_name=x`, want: `Invalid options ceph.cluster_name/ceph.user_name`},
	{key: "user.*", sh: `disk user.a=b && $BERTH config device get c d user.a; gone`, want: `^b\n$`},
}

// nicEntries are those of all kinds; ofKind picks.
var nicEntries = []entry{
	{key: "type", sh: `add nic nictype=p2p name=d0 && inside ip link show d0; gone`, want: `: d0@`},
	{key: "nictype", sh: `add nic nictype=p2p name=d0 && ip -d link show $(host_end); gone; add nic nictype=bridged parent=br0 name=d0 && ip -d link show $(host_end); gone`, want: `veth.*master br0`},
	{key: "name", sh: `add nic nictype=p2p name=called && inside ip link show called; gone`, want: `: called@`},
	{key: "hwaddr", sh: `add nic nictype=p2p name=d0 hwaddr=00:16:3e:01:02:03 && inside ip link show d0; gone`, want: `00:16:3e:01:02:03`},
	{key: "mtu", sh: `add nic nictype=p2p name=d0 mtu=1400 && inside ip link show d0; gone`, want: `mtu 1400`},
	{key: "boot.priority", reason: "it orders what firmware boots from, which containers have none of: LXD does nothing with it for them either"},
	{key: "user.*", sh: `add nic nictype=p2p name=d0 user.a=b && $BERTH config device get c d user.a; gone`, want: `^b\n$`},
	{key: "host_name", sh: `add nic nictype=p2p name=d0 host_name=keysveth && ip link show keysveth; gone`, want: `keysveth@`},
	{key: "ipv4.routes", sh: `add nic nictype=p2p name=d0 ipv4.routes=10.39.77.0/24 && ip route; gone`, want: `10.39.77.0/24 dev veth`},
	{key: "ipv6.routes", sh: `add nic nictype=p2p name=d0 ipv6.routes=fd39:77::/64 && ip -6 route; gone`, want: `fd39:77::/64 dev veth`},
	{key: "limits.ingress", sh: `add nic nictype=p2p name=d0 limits.ingress=5Mbit && tc class show dev $(host_end); gone`, want: `rate 5Mbit`},
	{key: "limits.egress", sh: `add nic nictype=p2p name=d0 limits.egress=5Mbit && tc qdisc show dev $(host_end); gone`, want: `qdisc ingress`},
	{key: "limits.max", sh: `add nic nictype=p2p name=d0 limits.max=5Mbit && tc class show dev $(host_end); tc qdisc show dev $(host_end); gone`, want: `rate 5Mbit.*qdisc ingress`},
	{key: "parent", sh: `add nic nictype=bridged parent=br0 name=d0 && ip link show $(host_end); gone`, want: `master br0`},
	{key: "network", sh: `add nic network=br0 name=d0 && ip link show $(host_end); gone`, want: `master br0`},
	{key: "ipv4.address", sh: `add nic network=br0 name=d0 ipv4.address=10.39.1.77 && cat $DIR/networks/br0/dnsmasq.hosts/*; gone`, want: `10.39.1.77`},
	{key: "ipv6.address", sh: `add nic network=br0 name=d0 ipv6.address=fd39:1::77 && cat $DIR/networks/br0/dnsmasq.hosts/*; gone`, want: `fd39:1::77`},
	{key: "security.mac_filtering", sh: `add nic network=br0 name=d0 security.mac_filtering=true`, want: `security.mac_filtering.*not supported`},
	{key: "security.ipv4_filtering", sh: `add nic network=br0 name=d0 security.ipv4_filtering=true`, want: `security.ipv4_filtering.*not supported`},
	{key: "security.ipv6_filtering", sh: `add nic network=br0 name=d0 security.ipv6_filtering=true`, want: `security.ipv6_filtering.*not supported`},
	{key: "security.port_isolation", sh: `add nic network=br0 name=d0 security.port_isolation=true && bridge -d link show dev $(host_end); gone`, want: `isolated on`},
	{key: "vlan", set: "5", refused: true},
	{key: "vlan.tagged", set: "6", refused: true},
	{key: "gvrp", set: "true", refused: true},
}

func ofKind(kind string) []entry {
	var own []entry
	for _, e := range nicEntries {
		if _, ok := nic.Tables()[kind].Lookup(e.key); ok {
			own = append(own, e)
		}
	}
	return own
}

func TestEveryKeyOfDevices(t *testing.T) {
	complete(t, none.Keys, noneEntries)
	complete(t, disk.Keys, diskEntries)
	for kind, table := range nic.Tables() {
		t.Run(kind, func(t *testing.T) { complete(t, table, ofKind(kind)) })
	}
	w := newWorld(t)
	w.sh(t, "", `mkdir -p $DIR/src/below; echo text >$DIR/src/file; ip link add mv0 type veth peer name mv1; ip link set mv0 up; ip link set mv1 up`)
	w.Berth("network", "create", "br0", "ipv4.address=10.39.1.1/24", "ipv6.address=fd39:1::1/64", "ipv6.dhcp.stateful=true")
	w.Berth("launch", "bb", "c")
	all := slices.Concat(noneEntries, diskEntries, nicEntries)
	refuse(t, diskEntries, func(e entry) error {
		return w.try("config", "device", "add", "c", "d", "disk", "source=/tmp", "path=/d", e.keyValue())
	})
	for _, kind := range []string{"bridged", "macvlan"} {
		refuse(t, ofKind(kind), func(e entry) error {
			return w.try("config", "device", "add", "c", "d", "nic", "nictype="+kind, "parent=br0", e.keyValue())
		})
	}
	for n := range all {
		all[n].on = "c"
		if all[n].sh != "" {
			all[n].sh = devices + all[n].sh
		}
	}
	for name, part := range map[string][]entry{"none": all[:len(noneEntries)], "disk": all[len(noneEntries) : len(noneEntries)+len(diskEntries)], "nic": all[len(noneEntries)+len(diskEntries):]} {
		t.Run(name, func(t *testing.T) { w.observe(t, part) })
	}
	w.sh(t, "", `rm -rf $DIR/src; ip link del mv0`)
}

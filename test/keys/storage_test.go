package keys_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/storage"
)

// Observers of pools and volumes have the pool "p", which is a file system in memory of its own, so that nothing is shared instead of
// copied.
const pools = `
new() { $BERTH storage volume create p "$@" >/dev/null; }
del() { for v; do $BERTH storage volume delete p $v >/dev/null; done; }
pool() { $BERTH storage set p "$@"; }
unpool() { $BERTH storage unset p "$1"; }
shots() { $BERTH query "/1.0/storage-pools/p/volumes/custom/$1/snapshots?recursion=1"; }
`

var poolEntries = []entry{
	{key: "source", sh: `new v; ls -d $DIR/../pool/custom/default_v; del v`, want: `/pool/custom/default_v\n$`},
	{key: "volatile.initial_source", reason: "LXD notes the source as it was given, as it makes another of it; here it is kept as it was given in source. A record from LXD keeps it"},
	{key: "rsync.bwlimit", sh: `new v; dd if=/dev/zero of=$DIR/../pool/custom/default_v/data bs=1M count=4 2>/dev/null; pool rsync.bwlimit=2048; begun=$(date +%s%3N); $BERTH storage volume copy p/v p/v2; [ $(($(date +%s%3N) - begun)) -ge 1400 ] && echo bounded; unpool rsync.bwlimit; del v v2`, want: `bounded`},
	{key: "rsync.compression", set: "false", refused: true},
	{key: "user.*", sh: `pool user.keys=walked; $BERTH storage get p user.keys`, want: `^walked\n`},
	{key: "volume.size", sh: `pool volume.size=9MiB; new v; grep size=9437184 $DIR/berthd.log; unpool volume.size; del v`, want: `size of a volume is not enforced`},
	{key: "volume.security.shifted", sh: `pool volume.security.shifted=true; new v; $BERTH storage volume get p v security.shifted; unpool volume.security.shifted; del v`, want: `^true\n`},
	{key: "volume.security.unmapped", sh: `pool volume.security.unmapped=true; new v; $BERTH config device add c d disk pool=p source=v path=/d >/dev/null; run stat -c %u /d; $BERTH config device remove c d; unpool volume.security.unmapped; del v`, want: `^65534\n`},
	{key: "volume.snapshots.expiry", sh: `pool volume.snapshots.expiry=1d; new v; $BERTH storage volume snapshot p v; shots v; unpool volume.snapshots.expiry; del v`, want: `"expires_at": ?"2`},
	{key: "volume.snapshots.pattern", sh: `pool volume.snapshots.pattern=walk%d; new v; $BERTH storage volume snapshot p v; shots v; unpool volume.snapshots.pattern; del v`, want: `"v/walk0"`},
	{key: "volume.snapshots.schedule", set: "@daily", refused: true},
}

var volumeEntries = []entry{
	{key: "size", sh: `new v size=11MiB; grep size=11534336 $DIR/berthd.log; del v`, want: `size of a volume is not enforced`},
	{key: "security.shifted", reason: "it lets instances with different ID maps have the volume at once, which here they always can: each sees it through its own"},
	{key: "security.unmapped", sh: `for is in false true; do new v security.unmapped=$is; $BERTH config device add c d disk pool=p source=v path=/d >/dev/null; run stat -c %u /d; $BERTH config device remove c d; del v; done`, want: `^0\n.*65534\n`},
	{key: "snapshots.expiry", sh: `new v snapshots.expiry=1d; $BERTH storage volume snapshot p v s; shots v; $BERTH query -X PUT -d '{"expires_at":"'$(date -u -d "+4 sec" +%FT%TZ)'"}' /1.0/storage-pools/p/volumes/custom/v/snapshots/s; until_true sh -c '! $BERTH query /1.0/storage-pools/p/volumes/custom/v/snapshots/s 2>/dev/null' && echo expired; del v`, want: `"expires_at": ?"2.*expired`},
	{key: "snapshots.pattern", sh: `new v snapshots.pattern=walk%d; $BERTH storage volume snapshot p v; shots v; del v`, want: `"v/walk0"`},
	{key: "snapshots.schedule", set: "@daily", refused: true},
	{key: "volatile.idmap.last", reason: "owners of a volume's files are never shifted, but seen through maps; a record from LXD keeps it"},
	{key: "volatile.idmap.next", reason: "owners of a volume's files are never shifted, but seen through maps; a record from LXD keeps it"},
	{key: "user.*", sh: `new v user.keys=walked; $BERTH storage volume list p user.keys=walked 2>&1; $BERTH storage volume get p v user.keys; del v`, want: `walked\n`},
}

func TestEveryKeyOfStorage(t *testing.T) {
	complete(t, storage.PoolKeys(), poolEntries)
	complete(t, storage.VolumeKeys(), volumeEntries)
	w := newWorld(t)
	source := strings.TrimSuffix(w.Dir, "d") + "pool"
	w.sh(t, "", `mkdir $DIR/../pool; mount -t tmpfs -o size=64m keys $DIR/../pool`)
	t.Cleanup(func() { w.sh(t, "", `umount $DIR/../pool; rmdir $DIR/../pool`) })
	w.Berth("storage", "create", "p", "dir", "source="+source)
	w.Berth("launch", "bb", "c")
	refuse(t, poolEntries, func(e entry) error { return w.try("storage", "set", "p", e.keyValue()) })
	refuse(t, volumeEntries, func(e entry) error { return w.try("storage", "volume", "create", "p", "v", e.keyValue()) })
	all := slices.Concat(poolEntries, volumeEntries)
	for n := range all {
		all[n].on = "c"
		if all[n].sh != "" {
			all[n].sh = pools + all[n].sh
		}
	}
	t.Run("pool", func(t *testing.T) { w.observe(t, all[:len(poolEntries)]) })
	t.Run("volume", func(t *testing.T) { w.observe(t, all[len(poolEntries):]) })
	w.Berth("delete", "-f", "c")
	w.Berth("storage", "delete", "p")
}

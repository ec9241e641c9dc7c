package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// What all workers share. The anchor and what is named with it are never deleted, so that something always runs; of all others
// any may be missing, so that any call may fail.
const (
	anchor    = "anchor"
	stormNet  = "stbr0"
	stormPool = "p2"
	keep      = "keep" // a custom volume with a manifest
	edits     = "user.edits"
)

var (
	stormNames     = []string{"sa", "sb", "sc", anchor, "ia", "ib"}
	isolated       = []string{"ia", "ib"}
	stormVolumes   = []string{"va", "vb"}
	stormSnapshots = []string{"s0", "s1"}
)

// worker is one of those who act at once.
type worker struct {
	*storm
	*rand.Rand
	*client.Client
	n int
}

func (w *worker) pick(of []string) string { return of[w.IntN(len(of))] }

// name is an instance that may go at any time.
func (w *worker) name() string {
	for {
		if n := w.pick(stormNames); n != anchor {
			return n
		}
	}
}

func (w *worker) work(stop <-chan struct{}) {
	all := w.actions()
	for {
		select {
		case <-stop:
			return
		default:
		}
		a := all[w.IntN(len(all))]
		what, err := a()
		select {
		case <-stop: // by now any answer may be that of a daemon that ends
		default:
			w.note(fmt.Sprintf("%d %s", w.n, what), err)
		}
	}
}

// wait waits for what a call has begun.
func wait(op *client.Operation, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return op.Wait(ctx)
}

// broken tells whether an error is one that a caller can do nothing with.
func broken(err error) bool {
	var status *api.Error
	if strings.Contains(err.Error(), "Snapshot not found") { // a 500 in LXD too, for a custom volume
		return false
	}
	return !errors.As(err, &status) || api.StatusOf(err) == http.StatusInternalServerError
}

type action func() (what string, err error)

func (w *worker) actions() []action {
	return []action{
		w.create, w.create, w.create, w.create, w.launchIsolated, w.launchIsolated, w.copy, w.copy, w.copy, w.copy, w.refresh, w.delete, w.rename, w.movePool,
		w.power, w.power, w.power, w.pause, w.snapshot, w.snapshot, w.deleteSnapshot, w.renameSnapshot, w.restore, w.publish, w.unpublish,
		w.limit, w.limit, w.plugDisk, w.plugDisk, w.plugNIC, w.unplug, w.unplug, w.editProfile, w.editProfile, w.profile,
		w.copyVolume, w.deleteVolume, w.snapshotVolume, w.restoreVolume, w.network,
	}
}

func (w *worker) create() (string, error) {
	post := api.InstancesPost{Name: w.name(), Source: api.InstanceSource{Type: "image", Alias: "mf"}}
	if w.IntN(3) == 0 {
		post.Profiles = []string{"default", "shared", "comes-and-goes"}
	} else {
		post.Profiles = []string{"default", "shared"}
	}
	return "create " + post.Name, wait(w.CreateInstance(post))
}

func (w *worker) launchIsolated() (string, error) {
	post := api.InstancesPost{Name: w.pick(isolated), Source: api.InstanceSource{Type: "image", Alias: "mf"}}
	post.Config = map[string]string{"security.idmap.isolated": "true"}
	err := wait(w.CreateInstance(post))
	if err == nil {
		err = w.state(post.Name, "start")
	}
	return "launch isolated " + post.Name, err
}

func (w *worker) copy() (string, error) {
	from, to := w.pick(stormNames), w.name()
	if w.IntN(4) == 0 {
		from += "/" + w.pick(stormSnapshots)
	}
	source := api.InstanceSource{Type: "copy", Source: from, InstanceOnly: w.IntN(2) == 0}
	post := api.InstancesPost{Name: to, Source: source}
	post.Profiles = []string{"default", "shared"}
	return "copy " + from + " " + to, wait(w.CreateInstance(post))
}

func (w *worker) refresh() (string, error) {
	from, to := w.pick(stormNames), w.name()
	source := api.InstanceSource{Type: "copy", Source: from, InstanceOnly: w.IntN(2) == 0, Refresh: true}
	return "refresh " + from + " " + to, wait(w.CreateInstance(api.InstancesPost{Name: to, Source: source}))
}

func (w *worker) delete() (string, error) {
	name := w.name()
	_ = w.state(name, "stop")
	return "delete " + name, wait(w.DeleteInstance(name))
}

func (w *worker) rename() (string, error) {
	from, to := w.name(), w.name()
	return "rename " + from + " " + to, wait(w.RenameInstance(from, api.InstancePost{Name: to}))
}

func (w *worker) movePool() (string, error) {
	name, pool := w.name(), w.pick([]string{"default", stormPool})
	return "move " + name + " to " + pool, wait(w.RenameInstance(name, api.InstancePost{Name: name, Pool: pool, Migration: true}))
}

func (w *worker) state(name, action string) error {
	return wait(w.UpdateInstanceState(name, api.InstanceStatePut{Action: action, Timeout: 30, Force: true}, ""))
}

func (w *worker) power() (string, error) {
	name, action := w.pick(stormNames), w.pick([]string{"start", "start", "start", "stop", "restart"})
	return action + " " + name, w.state(name, action)
}

// pause stops and resumes some instances. Of others it is a copy alone that freezes them, and a kill must not leave them so.
func (w *worker) pause() (string, error) {
	name, action := w.pick(isolated), w.pick([]string{"freeze", "unfreeze"})
	return action + " " + name, w.state(name, action)
}

func (w *worker) snapshot() (string, error) {
	name, snap := w.pick(stormNames), w.pick(stormSnapshots)
	return "snapshot " + name + "/" + snap, wait(w.CreateInstanceSnapshot(name, api.InstanceSnapshotsPost{Name: snap}))
}

func (w *worker) deleteSnapshot() (string, error) {
	name, snap := w.pick(stormNames), w.pick(stormSnapshots)
	return "delete " + name + "/" + snap, wait(w.DeleteInstanceSnapshot(name, snap))
}

func (w *worker) renameSnapshot() (string, error) {
	name, snap := w.pick(stormNames), w.IntN(2)
	return "rename " + name + "/" + stormSnapshots[snap],
		wait(w.RenameInstanceSnapshot(name, stormSnapshots[snap], api.InstanceSnapshotPost{Name: stormSnapshots[1-snap]}))
}

func (w *worker) restore() (string, error) {
	name, snap := w.pick(stormNames), w.pick(stormSnapshots)
	return "restore " + name + "/" + snap, wait(w.UpdateInstance(name, api.InstancePut{Restore: snap}, ""))
}

func (w *worker) publish() (string, error) {
	name := w.pick(stormNames)
	source := &api.ImagesPostSource{Type: "instance", Name: name}
	post := api.ImagesPost{Source: source, CompressionAlgorithm: "none"}
	post.Properties = map[string]string{"of": name}
	return "publish " + name, wait(w.CreateImage(post))
}

// unpublish deletes an image, but not the one with the manifest.
func (w *worker) unpublish() (string, error) {
	all, err := w.Images()
	for _, i := range all {
		if i.Properties["of"] != "" {
			return "delete image " + i.Fingerprint[:12], wait(w.DeleteImage(i.Fingerprint))
		}
	}
	return "list images", err
}

// edit reads an instance and writes it back changed, if nobody else has changed it meanwhile.
func (w *worker) edit(name string, change func(*api.InstancePut)) error {
	i, etag, err := w.Instance(name)
	if err != nil {
		return err
	}
	change(&i.InstancePut)
	return wait(w.UpdateInstance(name, i.InstancePut, etag))
}

func (w *worker) limit() (string, error) {
	name, key, value := w.pick(stormNames), "limits.memory", w.pick([]string{"", "96MiB", "128MiB", "192MiB"})
	if w.IntN(3) == 0 {
		key, value = "limits.processes", w.pick([]string{"", "200", "300"})
	}
	return "set " + name + " " + key + "=" + value, w.edit(name, func(i *api.InstancePut) { i.Config[key] = value })
}

func (w *worker) plugDisk() (string, error) {
	name := w.pick(stormNames)
	cfg := map[string]string{"type": "disk", "path": w.pick([]string{"/data", "/data2"}), "readonly": w.pick([]string{"true", "false"})}
	if w.IntN(2) == 0 {
		cfg["pool"], cfg["source"] = "default", w.pick([]string{keep, "va"})
	} else {
		cfg["source"] = w.words.Replace("$SRC")
	}
	return "plug " + fmt.Sprint(cfg) + " into " + name, w.edit(name, func(i *api.InstancePut) { i.Devices["data"] = cfg })
}

func (w *worker) plugNIC() (string, error) {
	name := w.pick(stormNames)
	cfg := map[string]string{"type": "nic", "nictype": "p2p", "name": w.pick([]string{"eth1", "eth2"})}
	if w.IntN(2) == 0 {
		cfg["hwaddr"] = fmt.Sprintf("00:16:3e:00:00:%02x", w.IntN(256))
	}
	return "plug " + fmt.Sprint(cfg) + " into " + name, w.edit(name, func(i *api.InstancePut) { i.Devices["more"] = cfg })
}

func (w *worker) unplug() (string, error) {
	name, device := w.pick(stormNames), w.pick([]string{"data", "more"})
	return "unplug " + device + " from " + name, w.edit(name, func(i *api.InstancePut) { delete(i.Devices, device) })
}

// editProfile counts the changes of the profile in itself, so that one that is lost is missed.
func (w *worker) editProfile() (string, error) {
	p, etag, err := w.Profile("shared")
	if err != nil {
		return "read profile", err
	}
	n, _ := strconv.Atoi(p.Config[edits])
	p.Config[edits] = strconv.Itoa(n + 1)
	p.Config["limits.memory"] = w.pick([]string{"", "128MiB", "160MiB"})
	switch w.IntN(3) {
	case 0:
		p.Devices["pnic"] = map[string]string{"type": "nic", "nictype": "p2p", "name": "eth5"}
	case 1:
		delete(p.Devices, "pnic")
	}
	err = w.UpdateProfile("shared", p.ProfilePut, etag)
	switch {
	case err == nil:
		w.edited.Add(1)
	case broken(err) || api.StatusOf(err) != http.StatusPreconditionFailed:
		w.unknown.Add(1)
	}
	return "edit profile", err
}

func (w *worker) profile() (string, error) {
	if w.IntN(2) == 0 {
		return "create profile", w.CreateProfile(api.ProfilesPost{Name: "comes-and-goes"})
	}
	return "delete profile", w.DeleteProfile("comes-and-goes")
}

func (w *worker) copyVolume() (string, error) {
	from, to := keep, w.pick(stormVolumes)
	if w.IntN(3) == 0 {
		from = w.pick(stormVolumes)
	}
	post := api.StorageVolumesPost{Name: to, Type: "custom"}
	post.Source = api.StorageVolumeSource{Type: "copy", Name: from, Pool: "default"}
	return "copy volume " + from + " " + to, wait(w.CopyStorageVolume("default", post))
}

func (w *worker) deleteVolume() (string, error) {
	name := w.pick(stormVolumes)
	return "delete volume " + name, w.DeleteStorageVolume("default", "custom", name)
}

func (w *worker) snapshotVolume() (string, error) {
	name, snap := w.pick([]string{keep, "va", "vb"}), w.pick(stormSnapshots)
	if w.IntN(3) == 0 {
		return "delete volume's snapshot " + name + "/" + snap, wait(w.DeleteStorageVolumeSnapshot("default", name, snap))
	}
	return "snapshot volume " + name + "/" + snap, wait(w.CreateStorageVolumeSnapshot("default", name, api.StorageVolumeSnapshotsPost{Name: snap}))
}

func (w *worker) restoreVolume() (string, error) {
	name, snap := w.pick([]string{keep, "va", "vb"}), w.pick(stormSnapshots)
	return "restore volume " + name + "/" + snap, w.UpdateStorageVolume("default", "custom", name, api.StorageVolumePut{Restore: snap}, "")
}

func (w *worker) network() (string, error) {
	n, etag, err := w.Network(stormNet)
	if err != nil {
		return "read network", err
	}
	n.Config["ipv4.dhcp.expiry"] = w.pick([]string{"1h", "2h"})
	return "edit network", w.UpdateNetwork(stormNet, n.NetworkPut, etag)
}

// newStorm makes what the storm starts from: an image, an instance, volumes and profiles with contents that are known.
func newStorm(t *testing.T, b *bench) *storm {
	t.Helper()
	b.paused = isolated
	s := &storm{bench: b, faults: map[string]int{}}
	// A disk that is plugged makes what stays from then on, too.
	b.must(calls("launch bb c0", "config device add c0 data disk source=$SRC path=/data", "delete -f c0"))
	b.before = state(b.d)
	b.must(calls("storage create "+stormPool+" dir", "init bb seed"))
	writeManifest(b.d.T, b.d.Dir+"/containers/seed/rootfs/manifest")
	b.must(calls("publish seed --alias mf", "delete seed", "network create "+stormNet+" ipv4.address=10.78.1.1/24 ipv6.address=none",
		"profile create shared", "profile device add shared eth0 nic network="+stormNet+" name=eth0", "profile set shared "+edits+" 0",
		"storage volume create default "+keep))
	writeManifest(b.d.T, b.d.Dir+"/storage-pools/default/custom/default_"+keep+"/manifest")
	b.must(calls("launch mf "+anchor+" -p default -p shared", "init mf sa -p default -p shared"))
	var alias struct{ Target string }
	if !get(b.d, "images/aliases/mf", &alias) {
		t.Fatal("no image")
	}
	s.image = alias.Target
	return s
}

// clear takes away what the storm has left, and what it started from.
func (s *storm) clear() {
	for _, i := range instances(s.d) {
		s.must(calls("delete --force " + i.Name))
	}
	var volumes []struct{ Name string }
	get(s.d, "storage-pools/default/volumes/custom?recursion=1", &volumes)
	for _, v := range volumes {
		if !strings.Contains(v.Name, "/") {
			s.must(calls("storage volume delete default " + v.Name))
		}
	}
	var images []struct {
		Fingerprint string
		Aliases     []struct{ Name string }
	}
	get(s.d, "images?recursion=1", &images)
	for _, i := range images {
		if len(i.Aliases) == 0 || i.Aliases[0].Name != "bb" {
			s.must(calls("image delete " + i.Fingerprint))
		}
	}
	if get(s.d, "profiles/comes-and-goes", nil) {
		s.must(calls("profile delete comes-and-goes"))
	}
	s.must(calls("profile delete shared", "network delete "+stormNet, "storage delete "+stormPool))
}

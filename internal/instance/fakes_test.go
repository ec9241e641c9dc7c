package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/profile"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/storage"
	"github.com/berthd/berth/internal/store"
)

// fakeVolumes keeps volumes as folders and counts mounts.
type fakeVolumes struct {
	root   string
	mu     sync.Mutex
	mounts map[storage.VolumeID]int
	table  *store.Table[struct{}]
	// copying, if set, is called before each copy, and can make it fail.
	copying func(dst storage.VolumeID) error
	// deleting, if set, is called before each removal, and can make it fail.
	deleting  func(storage.VolumeID) error
	exchanged func()            // if set, called after each exchange
	quotas    map[string]int64  // by path
	silent    chan struct{}     // if set, what a volume takes is known once it is closed
	away      atomic.Bool       // the pools cannot be reached
	hung      atomic.Value      // the pool that does not answer, a string
	without   atomic.Value      // a pool that cannot be reached, by name
	bears     map[string]string // the identities that stand on some, by path
}

func (v *fakeVolumes) Answers(_ context.Context, pool string) error {
	if v.hung.Load() == pool {
		return api.Unavailable("Storage pool %q does not answer", pool)
	}
	return nil
}

func (v *fakeVolumes) reach(id storage.VolumeID) error {
	if v.away.Load() || v.without.Load() == id.Pool {
		return api.Unavailable("Storage pool unavailable")
	}
	return nil
}

func (v *fakeVolumes) CheckPool(pool string) error {
	if pool != "p1" && pool != "p2" {
		return api.NotFound("Storage pool not found")
	}
	return nil
}

func (v *fakeVolumes) Path(id storage.VolumeID) string {
	if id.Snapshot != "" {
		return filepath.Join(v.root, "storage-pools", id.Pool, "containers-snapshots", id.Name, id.Snapshot)
	}
	return filepath.Join(v.root, "storage-pools", id.Pool, "containers", id.Name)
}

func (v *fakeVolumes) CreateFromImage(ctx context.Context, id storage.VolumeID, _ string, fill func(context.Context, string) error) error {
	if err := os.MkdirAll(filepath.Join(v.Path(id), "rootfs"), 0o755); err != nil {
		return err
	}
	return fill(ctx, v.Path(id))
}

func (v *fakeVolumes) CreateEmpty(_ context.Context, id storage.VolumeID) error {
	return os.MkdirAll(filepath.Join(v.Path(id), "rootfs"), 0o755)
}

func (v *fakeVolumes) Copy(_ context.Context, dst, src storage.VolumeID) error {
	if v.copying != nil {
		if err := v.copying(dst); err != nil {
			return err
		}
	}
	return os.CopyFS(v.Path(dst), os.DirFS(v.Path(src)))
}

func (v *fakeVolumes) Snapshot(ctx context.Context, id storage.VolumeID) error {
	src := id
	src.Snapshot = ""
	return v.Copy(ctx, id, src)
}

func (v *fakeVolumes) Exchange(_ context.Context, a, b storage.VolumeID) error {
	if err := v.reach(a); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.quotas != nil { // they are the contents'
		v.quotas[v.Path(a)], v.quotas[v.Path(b)] = v.quotas[v.Path(b)], v.quotas[v.Path(a)]
	}
	if v.exchanged != nil {
		defer v.exchanged()
	}
	return unix.Renameat2(unix.AT_FDCWD, v.Path(a), unix.AT_FDCWD, v.Path(b), unix.RENAME_EXCHANGE)
}

func (v *fakeVolumes) Rename(_ context.Context, old, new storage.VolumeID) error {
	if err := v.reach(old); err != nil {
		return err
	}
	for _, pair := range [][2]string{{v.Path(old), v.Path(new)}, {filepath.Dir(v.Path(withSnap(old))), filepath.Dir(v.Path(withSnap(new)))}} {
		if old.Snapshot != "" && pair[0] != v.Path(old) {
			continue
		}
		if err := os.Rename(pair[0], pair[1]); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func withSnap(id storage.VolumeID) storage.VolumeID { id.Snapshot = "x"; return id }

func (v *fakeVolumes) RenameBack(ctx context.Context, old, new storage.VolumeID) error {
	return v.Rename(ctx, new, old)
}

func (v *fakeVolumes) Undo(ctx context.Context, ids ...storage.VolumeID) error {
	return v.Delete(ctx, ids...)
}

func (v *fakeVolumes) Delete(_ context.Context, ids ...storage.VolumeID) error {
	for _, id := range ids {
		if err := v.reach(id); err != nil {
			return err
		}
		if v.deleting != nil {
			if err := v.deleting(id); err != nil {
				return err
			}
		}
		if uuid := v.bears[v.Path(id)]; uuid != "" && uuid != id.UUID {
			continue
		}
		if err := os.RemoveAll(v.Path(id)); err != nil {
			return err
		}
		_ = os.Remove(filepath.Dir(v.Path(withSnap(id)))) // if there is no snapshot
	}
	return nil
}

func (v *fakeVolumes) Mount(_ context.Context, id storage.VolumeID) (func() error, error) {
	if err := v.reach(id); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mounts[id]++
	return func() error { v.mu.Lock(); defer v.mu.Unlock(); v.mounts[id]--; return nil }, nil
}

func (v *fakeVolumes) Exists(_ context.Context, id storage.VolumeID) (bool, error) {
	if err := v.reach(id); err != nil {
		return false, err
	}
	_, err := os.Lstat(v.Path(id))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// SetQuota notes what a volume is held to.
func (v *fakeVolumes) SetQuota(_ context.Context, id storage.VolumeID, bytes int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.quotas == nil {
		v.quotas = map[string]int64{}
	}
	v.quotas[v.Path(id)] = bytes
	return nil
}

func (v *fakeVolumes) Usage(context.Context, storage.VolumeID) (int64, error) {
	if v.silent != nil {
		<-v.silent
	}
	return -1, nil
}

func (v *fakeVolumes) key(id storage.VolumeID) []string {
	return []string{id.Pool, id.Project, id.Name, id.Snapshot}
}

func (v *fakeVolumes) Record(id, _ storage.VolumeID) store.Op {
	return v.table.Put(&struct{}{}, v.key(id)...)
}
func (v *fakeVolumes) Forget(id storage.VolumeID) store.Op { return v.table.Remove(v.key(id)...) }

// fakeImages knows one image, "img", whose content is metadata and templates.
type fakeImages struct{ metadata, template string }

func (f *fakeImages) Resolve(_ context.Context, _ string, src api.InstanceSource) (*api.Image, error) {
	if src.Alias != "img" {
		return nil, api.NotFound("Image not found")
	}
	img := &api.Image{Fingerprint: "f00d", Type: "container", Architecture: "x86_64"}
	img.Properties = map[string]string{"os": "BusyBox"}
	return img, nil
}

func (f *fakeImages) Prepared(_, fingerprint string) (string, error) { return fingerprint, nil }

func (f *fakeImages) Unpack(_ context.Context, _, _, _, dir string, _ *diskspace.Room, progress func(int, int64)) error {
	progress(100, 1500000)
	if f.metadata == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "templates"), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "templates", "t.tpl"), []byte(f.template), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "metadata.yaml"), []byte(f.metadata), 0o644)
}
func (f *fakeImages) Used(string, string) []store.Op { return nil }

// fakeRuntime is a host where starting is a matter of a map.
type fakeRuntime struct {
	rooted  bool
	mu      sync.Mutex
	state   map[string]api.StatusCode
	exits   map[string]func()
	specs   map[string]*spec.Spec
	limits  map[string]spec.Cgroup
	limited func()                   // called once, when limits have been set
	fail    error                    // of the next start
	stuck   chan struct{}            // Shutdown waits for it or for a kill
	onTurn  func()                   // called before the next Freeze or Thaw
	onEnd   func(id string)          // called before Shutdown or Kill do anything
	hangs   map[string]chan struct{} // neither Shutdown, Kill nor Cleanup of these ends until the channel or the context does
	silent  map[string]chan struct{} // State of these hangs until the channel is closed
	slow    map[string]chan struct{} // Start of these hangs until the channel is closed
	order   []string                 // of the starts
	deaf    map[string]bool          // Shutdown of these has no effect

	restarts []string // what has ended to restart from inside

	lost  map[string]error  // what runs and cannot be taken over
	bears map[string]string // identities of what runs, where they are known
	blind error             // of Find
	kills []string          // the IDs that were killed or cleaned up while they ran
}

func (r *fakeRuntime) Start(_ context.Context, s *spec.Spec) (Process, error) {
	if wait := r.slow[s.ID]; wait != nil {
		<-wait
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.order = append(r.order, s.ID)
	if r.fail != nil {
		return Process{}, r.fail
	}
	r.state[s.ID], r.specs[s.ID], r.limits[s.ID] = api.Running, s, s.Cgroup
	return Process{ID: s.ID, InitPID: 1234}, nil
}

func (r *fakeRuntime) Find(_ context.Context, owner runtime.Owner) (map[string]Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := map[string]Process{}
	for id, st := range r.state {
		if st != api.Stopped {
			found[id] = Process{ID: id, UUID: r.bears[id], InitPID: 1234, Err: r.lost[id]}
			if uuid, _ := owner(id); found[id].Others(uuid) {
				r.lost = map[string]error{id: errors.New("another's")}
			}
		}
	}
	for _, id := range r.restarts {
		found[id] = Process{ID: id, Restart: true}
	}
	return found, r.blind
}

func (r *fakeRuntime) Watch(id string, exited func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exits[id] = exited
}

// exit ends an instance as if from inside.
func (r *fakeRuntime) exit(id string) {
	r.mu.Lock()
	delete(r.state, id)
	call := r.exits[id]
	delete(r.exits, id)
	r.mu.Unlock()
	if call != nil {
		call()
	}
}

func (r *fakeRuntime) Shutdown(ctx context.Context, id string) error {
	r.mu.Lock()
	stuck, begun := r.stuck, r.onEnd
	r.mu.Unlock()
	if begun != nil {
		begun(id)
	}
	if err := r.hang(ctx, id); err != nil {
		return err
	}
	if r.deaf[id] {
		<-ctx.Done()
		return ctx.Err()
	}
	if stuck != nil {
		select {
		case <-stuck:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.exit(id)
	return nil
}

// hang waits, for an instance that cannot be ended.
func (r *fakeRuntime) hang(ctx context.Context, id string) error {
	if r.hangs[id] == nil {
		return nil
	}
	select {
	case <-r.hangs[id]:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *fakeRuntime) Kill(ctx context.Context, id string) error {
	if err := r.hang(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	if r.stuck != nil {
		close(r.stuck)
		r.stuck = nil
	}
	r.kills = append(r.kills, id)
	begun := r.onEnd
	r.mu.Unlock()
	if begun != nil {
		begun(id)
	}
	r.exit(id)
	return nil
}

func (r *fakeRuntime) set(id string, s api.StatusCode) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state[id] = s
	return nil
}
func (r *fakeRuntime) Freeze(_ context.Context, id string) error { return r.turn(id, api.Frozen) }
func (r *fakeRuntime) Thaw(_ context.Context, id string) error   { return r.turn(id, api.Running) }

// turn is set for a change that takes its time: what onTurn does comes before it.
func (r *fakeRuntime) turn(id string, s api.StatusCode) error {
	r.mu.Lock()
	first := r.onTurn
	r.onTurn = nil
	r.mu.Unlock()
	if first != nil {
		first()
	}
	return r.set(id, s)
}

func (r *fakeRuntime) Status(id string) api.StatusCode {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.blind != nil || r.lost[id] != nil {
		return api.StatusError
	}
	if s, ok := r.state[id]; ok {
		return s
	}
	return api.Stopped
}

// Root is any folder, while the instance runs; only with rooted, as tests look at what is in volumes.
func (r *fakeRuntime) Root(id string) (*os.File, error) {
	if !r.rooted || r.Status(id) != api.Running {
		return nil, errors.ErrUnsupported
	}
	return os.Open("/")
}

func (r *fakeRuntime) NetworkNamespace(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func (r *fakeRuntime) NetworkNamespaces(context.Context, string, func(*os.File) error) error {
	return errors.ErrUnsupported
}

func (r *fakeRuntime) State(_ context.Context, id string, _ map[string]string) (*api.InstanceState, error) {
	if r.silent[id] != nil {
		<-r.silent[id]
	}
	s := r.Status(id)
	return &api.InstanceState{Status: s.String(), StatusCode: s, Pid: 1234}, nil
}

func (r *fakeRuntime) Exec(context.Context, string, ExecRequest) (Command, error) { return nil, nil }

func (r *fakeRuntime) Console(context.Context, string) (io.ReadWriteCloser, error) { return nil, nil }

func (r *fakeRuntime) LookLimits(id string, _, _ spec.Cgroup) (json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return json.Marshal(r.limits[id])
}

func (r *fakeRuntime) RestoreLimits(ctx context.Context, id string, seen json.RawMessage) error {
	var c spec.Cgroup
	if err := json.Unmarshal(seen, &c); err != nil {
		return err
	}
	return r.Limits(ctx, id, spec.Cgroup{}, c)
}

func (r *fakeRuntime) Limits(_ context.Context, id string, _, after spec.Cgroup) error {
	r.mu.Lock()
	r.limits[id] = after
	then := r.limited
	r.limited = nil
	r.mu.Unlock()
	if then != nil {
		then()
	}
	return nil
}

func (r *fakeRuntime) Mounted(context.Context, string, spec.Mount, []string) (bool, error) {
	return false, nil
}

func (r *fakeRuntime) Resolve(_ context.Context, _ string, targets []string) ([]string, error) {
	return targets, nil
}

func (r *fakeRuntime) CPUs(_ context.Context, id, set string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	g := r.limits[id]
	g.CPUSet = set
	r.limits[id] = g
	return nil
}

func (r *fakeRuntime) Cleanup(ctx context.Context, id, uuid string) error {
	if err := r.hang(ctx, id); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if (Process{UUID: r.bears[id]}).Others(uuid) {
		return errors.New("another's")
	}
	if _, runs := r.state[id]; runs {
		r.kills = append(r.kills, id)
	}
	delete(r.state, id)
	return nil
}
func (r *fakeRuntime) Mount(context.Context, string, spec.Mount) error             { return nil }
func (r *fakeRuntime) Unmount(context.Context, string, spec.Mount, []string) error { return nil }
func (r *fakeRuntime) AllowDevice(context.Context, string, spec.DeviceRule) error  { return nil }
func (r *fakeRuntime) Log(string) string                                           { return "" }

// fakeModule is a device type that counts what it has on the host, and inside, by instance/device and slot.
type fakeModule struct {
	mu       sync.Mutex
	up       map[string]bool
	plugged  map[string]bool
	known    map[string]string // instance/device: the configuration that a network knows
	owners   map[string]string // the identity of the instance
	updated  map[string]device.Config
	adopted  []string
	fail     error        // of the next starts
	failOnce string       // the device whose next start fails
	onStart  func(string) // called by each start
}

// errUnanswered is of a device on a file system inside that answers nobody.
var errUnanswered = errors.New("a file system inside does not answer")

func newFakeModule() *fakeModule {
	return &fakeModule{up: map[string]bool{}, plugged: map[string]bool{}, known: map[string]string{}, owners: map[string]string{}, updated: map[string]device.Config{}}
}

// CheckSupported refuses the key "idle" where it is new.
func (m *fakeModule) CheckSupported(_ string, was, cfg device.Config) error {
	if cfg["idle"] != "" && cfg["idle"] != was["idle"] {
		return api.BadRequest("idle=%q is not supported by this server: it has no effect", cfg["idle"])
	}
	return nil
}

func slotKey(in device.Instance, name string) string {
	return in.ID + "/" + name + []string{"", "#1"}[in.Slot]
}

func (m *fakeModule) Validate(_ context.Context, _ device.Instance, _ string, cfg device.Config) error {
	if cfg["bad"] != "" {
		return api.BadRequest("Invalid device option %q", "bad")
	}
	return nil
}

func (m *fakeModule) Start(_ context.Context, in device.Instance, name string, cfg device.Config, v map[string]string) (device.Contribution, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.onStart != nil {
		m.onStart(in.ID)
	}
	m.up[slotKey(in, name)] = true
	m.owners[slotKey(in, name)] = in.UUID
	m.known[in.ID+"/"+name] = cfg["net"]
	if m.fail != nil {
		return device.Contribution{}, m.fail
	}
	if cfg["unstartable"] != "" || m.failOnce == in.ID+"/"+name {
		m.failOnce = ""
		return device.Contribution{}, errors.New("cannot be started")
	}
	host := "veth-" + name + []string{"", "-1"}[in.Slot]
	return device.Contribution{
		NICs:     []spec.NIC{{Device: name, HostName: host, HWAddr: v["hwaddr"]}},
		Volatile: map[string]string{"host_name": host},
	}, nil
}

func (m *fakeModule) Stop(_ context.Context, in device.Instance, name string, _ device.Config, _ map[string]string) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.up, slotKey(in, name))
	delete(m.plugged, slotKey(in, name))
	return map[string]string{"host_name": ""}, nil
}

func (m *fakeModule) Defaults(_ device.Instance, _ string, _ device.Config, v map[string]string) (map[string]string, error) {
	if v["hwaddr"] != "" {
		return nil, nil
	}
	return map[string]string{"hwaddr": "00:16:3e:00:00:01"}, nil
}

func (m *fakeModule) Add(_ context.Context, in device.Instance, name string, cfg device.Config, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[in.ID+"/"+name] = cfg["net"]
	return nil
}

func (m *fakeModule) Remove(_ context.Context, in device.Instance, name string, _ device.Config, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, in.ID+"/"+name)
	return nil
}

func (m *fakeModule) Plug(_ context.Context, _ device.Running, in device.Instance, name string, cfg device.Config, _ device.Contribution) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cfg["stuck"] != "" {
		return errors.New("cannot be plugged")
	}
	if cfg["unanswered"] != "" {
		return &device.NotPlugged{Err: errUnanswered}
	}
	other := in
	other.Slot = 1 - in.Slot
	if m.plugged[slotKey(other, name)] {
		return errors.New("there is one already")
	}
	m.plugged[slotKey(in, name)] = true
	return nil
}

func (m *fakeModule) Look(_ context.Context, _ device.Running, in device.Instance, name string, _ device.Config, _ map[string]string) (json.RawMessage, error) {
	return json.Marshal("as " + slotKey(in, name))
}

func (m *fakeModule) Unplug(_ context.Context, _ device.Running, in device.Instance, name string, cfg device.Config, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cfg["unanswered"] != "" {
		return errUnanswered
	}
	delete(m.plugged, slotKey(in, name))
	return nil
}

func (m *fakeModule) Replug(_ context.Context, _ device.Running, in device.Instance, name string, _ device.Config, _ map[string]string, seen json.RawMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := `"as ` + slotKey(in, name) + `"`; string(seen) != want {
		return fmt.Errorf("it saw %s, not %s", seen, want)
	}
	m.plugged[slotKey(in, name)] = true
	return nil
}

func (m *fakeModule) LiveKeys() []string { return []string{"live"} }

func (m *fakeModule) Update(_ context.Context, _ device.Running, in device.Instance, name string, _, cfg device.Config, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.updated[slotKey(in, name)] = cfg
	if cfg["live"] == "bad" {
		return errors.New("cannot be updated")
	}
	return nil
}

func (m *fakeModule) Adopt(_ context.Context, in device.Instance, name string, _ device.Config, _ map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.adopted = append(m.adopted, slotKey(in, name))
	return nil
}

// recorder keeps life-cycle events.
type recorder struct {
	mu  sync.Mutex
	all []string
}

func (r *recorder) Lifecycle(_ context.Context, _, action, source string, _ map[string]any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, action+" "+source)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.all
	r.all = nil
	return all
}

// house is a service with everything around it faked.
type house struct {
	*Service
	t       *testing.T
	root    string
	rt      *fakeRuntime
	volumes *fakeVolumes
	nic     *fakeModule
	images  *fakeImages
	events  *recorder
	engine  *counter

	profiles *profile.Service
	projects *project.Service
}

// counter counts commits.
type counter struct {
	*store.Memory
	mu      sync.Mutex
	commits int
	left    int  // how many more succeed before one fails; negative: all do
	dead    bool // and so do all that come after it
	// refuse, if set, can make a commit fail.
	refuse func(ops []store.Op) error
}

func (c *counter) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	c.mu.Lock()
	c.commits++
	fails := c.left == 0
	if c.left > 0 || c.left == 0 && !c.dead {
		c.left--
	}
	refuse := c.refuse
	c.mu.Unlock()
	if fails {
		return 0, errDead
	}
	if refuse != nil {
		if err := refuse(ops); err != nil {
			return 0, err
		}
	}
	return c.Memory.Commit(ctx, ops)
}

// failAt has the commit after the next n fail, and, if the daemon is to be dead from then on, all that follow.
func (c *counter) failAt(n int, dead bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left, c.dead = n, dead
}

// newHouse builds a service; with the state of another one given, it is what a daemon finds after a restart.
func newHouse(t *testing.T, before *house) *house {
	t.Helper()
	h := &house{t: t, events: &recorder{}, images: &fakeImages{}}
	if before == nil {
		h.root = t.TempDir()
		h.engine = &counter{Memory: store.NewMemory(), left: -1}
		h.rt = &fakeRuntime{state: map[string]api.StatusCode{}, exits: map[string]func(){}, specs: map[string]*spec.Spec{}, limits: map[string]spec.Cgroup{}}
		h.nic = newFakeModule()
	} else {
		h.root, h.engine, h.rt, h.nic = before.root, before.engine, before.rt, before.nic
		h.rt.exits = map[string]func(){}
	}
	st := store.New(h.engine)
	t.Cleanup(func() { _ = st.Close() })
	h.volumes = &fakeVolumes{root: h.root, mounts: map[storage.VolumeID]int{}, table: store.NewTable[struct{}](st, "volumes")}
	root := newFakeModule()
	locks := &lock.Manager{}
	entries := journal.New(st)
	h.projects = project.New(project.Deps{
		Store: st, Events: event.Nobody{}, Locks: locks, Users: func(string) []string { return nil },
		Contents: func(name string) project.Contents { return project.Contents{Instances: h.Contents(name)} },
		Profiles: func() project.ProfilesOf { return h.profiles },
	})
	h.profiles = profile.New(st, nil, locks, entries, h.projects)
	h.Service = New(Deps{
		Root: h.root, Store: st, Journal: entries, Volumes: h.volumes, Images: h.images, Profiles: h.profiles, Projects: h.projects, Runtime: h.rt, Locks: locks,
		Events: h.events, Modules: map[string]device.Module{"disk": root, "nic": h.nic},
		Host: Host{IDs: idmap.Host{UID: idmap.Default, GID: idmap.Default}, CPUs: []int{0, 1, 2, 3}, MemoryTotal: 1 << 30, Arch: "x86_64"},
		Log:  slog.New(slog.DiscardHandler),
	})
	h.do(st.Load(t.Context()))
	h.profiles.SetInstances(h.Service)
	t.Cleanup(h.Close)
	if before == nil {
		h.profile("default", nil, map[string]map[string]string{"root": {"type": "disk", "path": "/", "pool": "p1"}})
		h.profile("empty", nil, nil)
	}
	return h
}

func (h *house) do(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// profile makes a profile.
func (h *house) profile(name string, config map[string]string, devices map[string]map[string]string) {
	h.t.Helper()
	req := api.ProfilesPost{Name: name}
	req.Config, req.Devices = config, devices
	h.do(h.profiles.Create(h.t.Context(), "default", req))
}

// run runs the task that a call gave.
func (h *house) run(task *operation.Task, err error) error {
	h.t.Helper()
	if err != nil {
		return err
	}
	return task.Run(h.t.Context(), operation.NoProgress{})
}

func (h *house) create(name string, change func(*api.InstancesPost)) {
	h.t.Helper()
	req := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "image", Alias: "img"}}
	if change != nil {
		change(&req)
	}
	h.do(h.run(h.Create(h.t.Context(), "default", req)))
}

func (h *house) action(name, action string) error {
	return h.run(h.SetState(h.t.Context(), "default", name, api.InstanceStatePut{Action: action, Timeout: -1}))
}

func (h *house) show(name string) *api.Instance {
	h.t.Helper()
	i, _, err := h.Get(h.t.Context(), "default", name)
	h.do(err)
	return i
}

// nothingLeft fails if the host holds anything of stopped instances.
func (h *house) nothingLeft() {
	h.t.Helper()
	if len(h.nic.up) > 0 || len(h.nic.plugged) > 0 {
		h.t.Errorf("devices are left: %v %v", h.nic.up, h.nic.plugged)
	}
	for id, n := range h.volumes.mounts {
		if n != 0 {
			h.t.Errorf("%v is mounted %d times", id, n)
		}
	}
	entries, _ := os.ReadDir(filepath.Join(h.root, "devices"))
	if len(entries) > 0 {
		h.t.Errorf("devices/ holds %v", entries)
	}
	if n := h.Journal.Pending(); n != 0 {
		h.t.Errorf("%d journal entries are left", n)
	}
}

// anyRevision is the match of a client that has seen nothing.
func anyRevision(store.Revision) error { return nil }

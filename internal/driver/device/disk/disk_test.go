package disk

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
	"github.com/berthd/berth/internal/spec"
)

type pools struct {
	held   map[string]string
	volume string // folder of every volume
}

func (p pools) CheckPool(pool string) error {
	if pool != "default" {
		return api.NotFound("Storage pool not found")
	}
	return nil
}

func (p pools) CustomVolume(_, _, name string) (map[string]string, error) {
	switch name {
	case "data":
		return nil, nil
	case "plain":
		return map[string]string{"security.unmapped": "true"}, nil
	}
	return nil, api.NotFound("Storage pool volume not found")
}

func (p pools) Attach(_ context.Context, user, pool, _, name string) (string, error) {
	p.held[user] = pool + "/" + name
	return p.volume, nil
}

func (p pools) Detach(_ context.Context, user string) error {
	delete(p.held, user)
	return nil
}

// parse makes a configuration from "key=value key=value".
func parse(text string) device.Config {
	cfg := device.Config{"type": "disk"}
	for _, word := range strings.Fields(text) {
		key, value, _ := strings.Cut(word, "=")
		cfg[key] = value
	}
	return cfg
}

func TestValidate(t *testing.T) {
	const (
		missing   = `Disk entry is missing the required "source" or "path" property`
		recursive = "The recursive option is only supported for additional bind-mounted paths"
	)
	for cfg, want := range map[string]string{ // texts are those of LXD 5.0.2
		"":                                               missing,
		"path=/mnt":                                      missing,
		"pool=default path=/mnt":                         missing,
		"source=/tmp path=/mnt":                          "",
		"source=/tmp path=mnt":                           "",
		"source=/nonexist path=/mnt":                     "",
		"source=/tmp path=/":                             `Root disk entry may not have a "source" property set`,
		"path=/":                                         `Root disk entry must have a "pool" property set`,
		"pool=default path=/ size=1GiB":                  "",
		"pool=default path=/ size=foo":                   `Invalid value for device option "size": Invalid value: foo`,
		"source=/tmp path=/mnt readonly=maybe":           `Invalid value for device option "readonly": Invalid value for a boolean "maybe"`,
		"source=/tmp path=/mnt foo=bar":                  `Invalid device option "foo"`,
		"source=/tmp path=/mnt size=1GB":                 "Only the root disk may have a size quota",
		"source=/tmp path=/mnt size.state=1GB":           "Only the root disk may have a migration size quota",
		"source=/tmp path=/mnt recursive=true":           "",
		"source=/etc/passwd path=/mnt recursive=true":    recursive,
		"pool=default path=/ recursive=true":             recursive,
		"source=/tmp path=/mnt recursive=1 readonly=1":   "Recursive read-only bind-mounts aren't currently supported by the kernel",
		"source=relative path=/mnt":                      "Source path must be absolute for local sources",
		"pool=default source=/tmp path=/mnt":             "Storage volumes cannot be specified as absolute paths",
		"pool=default source=data path=/mnt shift=true":  `The "shift" property cannot be used with custom storage volumes (set "security.shifted=true" on the volume instead)`,
		"source=/tmp path=/mnt ceph.user_name=x":         `Invalid options ceph.cluster_name/ceph.user_name for source "/tmp"`,
		"source=/tmp path=/mnt boot.priority=x":          `Invalid value for device option "boot.priority": Invalid value for uint32 "x": strconv.ParseUint: parsing "x": invalid syntax`,
		"source=/tmp path=/mnt/..":                       `Invalid path "/mnt/..": only the root disk is mounted at the root`,
		"source=/tmp path=/../mnt":                       "",
		"source=/tmp path=/mnt propagation=rslave":       "",
		"source=/tmp path=/mnt propagation=bogus":        `Invalid value for device option "propagation"`,
		"source=/tmp path=/mnt required=false shift=yes": "",
	} {
		err := (&Module{}).Validate(context.Background(), device.Instance{}, "d", parse(cfg))
		if want == "" && err == nil {
			continue
		}
		if err == nil || want == "" || !strings.HasPrefix(err.Error(), want) || api.StatusOf(err) != http.StatusBadRequest {
			t.Errorf("%s: got %v, want %q", cfg, err, want)
		}
	}
}

func TestValidateKeepsLinesWhole(t *testing.T) {
	for _, key := range []string{"source", "path", "raw.mount.options", "propagation"} {
		cfg := device.Config{"type": "disk", "source": "/tmp", "path": "/mnt"}
		cfg[key] += "/x\nlxc.hook.start = /evil"
		if err := (&Module{}).Validate(context.Background(), device.Instance{}, "d", cfg); err == nil {
			t.Errorf("%s takes a line break", key)
		}
	}
}

func TestSamePathTwice(t *testing.T) {
	devices := map[string]device.Config{"a": parse("source=/tmp path=/mnt"), "b": parse("source=/tmp path=/mnt")}
	err := (&Module{}).Validate(context.Background(), device.Instance{Devices: devices}, "a", devices["a"])
	if err == nil || err.Error() != `More than one disk device uses the same path "/mnt"` {
		t.Errorf("got %v", err)
	}
}

func TestStart(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	volume := t.TempDir()
	options := []string{"bind", "nodev"}
	for cfg, want := range map[string][]spec.Mount{ // the sources are those of the host
		"pool=default path=/":                 nil,
		"source=" + folder + " path=/mnt":     {{Target: "mnt", Options: options, Create: "dir"}},
		"source=" + file + " path=/mnt/../x/": {{Target: "x", Options: options, Create: "file"}},
		"source=" + folder + " path=a/../../b recursive=true propagation=rslave": {{
			Target: "b", Options: []string{"rbind", "nodev", "rslave"}, Create: "dir"}},
		"source=" + folder + " path=/b readonly=true raw.mount.options=ro,noexec,uid=1 shift=true": {{
			Target: "b", Options: []string{"bind", "ro", "noexec", "nodev"}, Create: "dir", Idmapped: true}},
		"source=/nonexist path=/mnt required=false": nil,
		"source=/nonexist path=/mnt optional=true":  nil,
		"source=/dev/zero path=/zero":               {{Target: "zero", Options: options, Create: "file"}},
		"pool=default source=data path=/mnt":        {{Target: "mnt", Options: options, Create: "dir", Idmapped: true}},
		"pool=default source=plain path=/mnt":       {{Target: "mnt", Options: options, Create: "dir"}},
	} {
		t.Run(cfg, func(t *testing.T) {
			m := &Module{Pools: pools{map[string]string{}, volume}}
			inst := device.Instance{ID: "c", Project: "default", DevicesPath: filepath.Join(t.TempDir(), "c")}
			stop := func() {
				if _, err := m.Stop(context.Background(), inst, "d", parse(cfg), nil); err != nil {
					t.Error(err)
				}
			}
			t.Cleanup(stop)
			var c device.Contribution
			for range 2 { // the second finds what a killed daemon left
				var err error
				if c, err = m.Start(context.Background(), inst, "d", parse(cfg), nil); err != nil {
					t.Fatal(err)
				}
			}
			for i := range want {
				want[i].Type, want[i].Source = "none", parse(cfg)["source"]
				if parse(cfg)["pool"] != "" {
					want[i].Source = volume
				}
				want[i].Optional = strings.Contains(cfg, "optional")
			}
			if diff := cmp.Diff(want, c.Mounts); diff != "" {
				t.Error(diff)
			}
			stop()
			stop()
			if n := len(m.Pools.(pools).held); n != 0 {
				t.Errorf("%d volumes are still held", n)
			}
			if left, _ := os.ReadDir(inst.DevicesPath); len(left) != 0 {
				t.Errorf("left over: %v", left)
			}
			if _, err := os.Stat(file); err != nil {
				t.Error("the source was touched")
			}
		})
	}
}

// Nodes on a disk are for whoever may make them, and where containers are started inside; see options.
func TestNodesOnDisks(t *testing.T) {
	for want, inst := range map[string]device.Instance{
		"bind nosuid nodev":       {},
		"bind nosuid":             {Privileged: true},
		"bind nosuid ":            {Config: map[string]string{"security.nesting": "true"}},
		"bind ro nodev nosuid  ":  {},
		"bind ro nodev nosuid   ": {Privileged: true},
	} {
		cfg := parse("raw.mount.options=nosuid")
		if strings.Contains(want, "ro") {
			cfg = parse("raw.mount.options=ro,nodev,nosuid,ro readonly=true")
		}
		if got := strings.Join(options(inst, cfg), " "); got != strings.TrimSpace(want) {
			t.Errorf("%+v: %q, want %q", inst, got, want)
		}
	}
}

func TestCheck(t *testing.T) {
	m := &Module{Pools: pools{}}
	for cfg, want := range map[string]string{
		"source=/nonexist path=/mnt":                `Missing source path "/nonexist" for disk "d"`,
		"source=/nonexist path=/mnt required=false": "",
		"pool=nope source=v path=/mnt":              `Failed to get storage pool "nope": Storage pool not found`,
		"pool=default source=nope path=/mnt":        "Failed loading custom volume: Storage volume not found",
		"pool=default source=data path=/mnt":        "",
		"pool=default source=data":                  "Custom filesystem volumes require a path to be defined",
	} {
		err := m.Check(context.Background(), device.Instance{}, "d", parse(cfg))
		if got := text(err); got != want {
			t.Errorf("%s: got %q, want %q", cfg, got, want)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestBlockDevice(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "losetup"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs %s", tool)
		}
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", image).CombinedOutput(); err != nil {
		t.Fatalf("mkfs.ext4: %v: %s", err, out)
	}
	out, err := exec.Command("losetup", "--find", "--show", image).Output()
	if err != nil {
		t.Skipf("needs loop devices: %v", err)
	}
	loop := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", loop).Run() })

	m := &Module{}
	inst := device.Instance{ID: "c", DevicesPath: filepath.Join(t.TempDir(), "c")}
	cfg := parse("path=/mnt raw.mount.options=noexec")
	cfg["source"] = loop
	for range 2 { // the second finds what a killed daemon left
		c, err := m.Start(context.Background(), inst, "d", cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(c.Mounts[0].Source, "lost+found")); err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		if _, err := m.Stop(context.Background(), inst, "d", cfg, nil); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(inst.DevicesPath); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
	cfg["source"] = loop + "x"
	if _, err := m.Start(context.Background(), inst, "d", cfg, nil); err == nil {
		t.Error("started from nothing")
	}
}

// running is an instance in which mounts are a matter of a list.
type running struct {
	device.Running
	mounts []string
	fail   error
}

func (r *running) Mount(_ context.Context, m spec.Mount) error {
	if r.fail == nil {
		r.mounts = append(r.mounts, m.Target+" from "+m.Source)
	}
	return r.fail
}

func (r *running) find(target string) int {
	return slices.IndexFunc(r.mounts, func(m string) bool { return strings.HasPrefix(m, target+" ") })
}

func (r *running) Mounted(_ context.Context, m spec.Mount, _ []string) (bool, error) {
	return r.find(m.Target) >= 0, nil
}

func (r *running) Unmount(_ context.Context, m spec.Mount, _ []string) error {
	if n := r.find(m.Target); n >= 0 {
		r.mounts = slices.Delete(r.mounts, n, n+1)
	}
	return r.fail
}

// TestADiskIsReplacedAndThereIsAWayBack: the new one is prepared while the old one is there; either can go.
func TestADiskIsReplacedAndThereIsAWayBack(t *testing.T) {
	m, run, ctx := &Module{Pools: pools{}}, &running{}, t.Context()
	one, two := t.TempDir(), t.TempDir()
	first, second := device.Instance{ID: "c1", DevicesPath: t.TempDir()}, device.Instance{ID: "c1", Slot: 1}
	second.DevicesPath = first.DevicesPath
	old, next := parse("path=/mnt source="+one), parse("path=/mnt source="+two)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	has := func(want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, run.mounts); diff != "" {
			t.Error(diff)
		}
	}
	c, err := m.Start(ctx, first, "d", old, nil)
	must(err)
	must(m.Plug(ctx, run, first, "d", old, c))
	seen, err := m.Look(ctx, run, first, "d", old, nil)
	must(err)
	started, err := m.Start(ctx, second, "d", next, nil)
	must(err)
	has("mnt from " + one)
	for range 2 {
		must(m.Unplug(ctx, run, first, "d", old, nil))
	}
	must(m.Plug(ctx, run, second, "d", next, started))
	has("mnt from " + two)
	must(m.Unplug(ctx, run, second, "d", next, nil))
	_, err = m.Stop(ctx, second, "d", next, nil)
	must(err)
	for range 2 { // the second time after a kill
		must(m.Replug(ctx, run, first, "d", old, nil, seen))
	}
	has("mnt from " + one)

	// What was not inside does not come back.
	must(run.Unmount(ctx, spec.Mount{Target: "mnt"}, nil))
	seen, err = m.Look(ctx, run, first, "d", old, nil)
	must(err)
	must(m.Replug(ctx, run, first, "d", old, nil, seen))
	if len(run.mounts) > 0 {
		t.Errorf("inside is %q", run.mounts)
	}
	run.fail = errors.New("failure")
	if not := (*device.NotPlugged)(nil); !errors.As(m.Plug(ctx, run, first, "d", old, c), &not) {
		t.Error("it is not told that nothing was mounted")
	}
	if err := m.Plug(ctx, run, first, "d", old, c); !errors.Is(err, run.fail) {
		t.Errorf("got %v", err)
	}
	if user(first, "d") == user(second, "d") || hostPath(first, "d") == hostPath(second, "d") {
		t.Error("two of a device at once are told apart by nothing")
	}
}

func TestOthersOfTheSameSource(t *testing.T) {
	inst := device.Instance{Devices: map[string]device.Config{
		"a": parse("source=/tmp path=/mnt"), "b": parse("source=/tmp path=srv/x/"), "c": parse("source=/var path=/c"),
		"d": parse("pool=default source=/tmp path=/d"), "root": parse("pool=default path=/"), "nic": {"type": "nic"},
	}}
	if diff := cmp.Diff([]string{"srv/x"}, others(inst, "a", inst.Devices["a"])); diff != "" {
		t.Error(diff)
	}
	m := &Module{}
	for name, want := range map[string]string{"a": "mnt", "b": "srv/x", "root": ""} {
		if got := m.Place(inst.Devices[name]); got != want {
			t.Errorf("%s is at %q, want %q", name, got, want)
		}
	}
}

// TestWhatHasNoEffectIsRefusedWhereItIsNew: a disk that an earlier version took is one still.
func TestWhatHasNoEffectIsRefusedWhereItIsNew(t *testing.T) {
	m := &Module{}
	for key, reason := range map[string]string{
		"limits.read=10MB": "rate of disk I/O", "limits.write=30iops": "rate of disk I/O", "limits.max=1": "rate of disk I/O",
		"size.state=1GiB": "only virtual machines", "source=cloud-init:config": "only virtual machines",
	} {
		cfg := parse(key)
		err := m.CheckSupported("default", nil, cfg)
		name, _, _ := strings.Cut(key, "=")
		if api.StatusOf(err) != http.StatusBadRequest || !strings.Contains(err.Error(), name+"=") || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", key, err)
		}
		if err := m.CheckSupported("default", cfg, cfg); err != nil {
			t.Errorf("%s is there already: %v", key, err)
		}
		if err := m.CheckSupported("default", cfg, parse("")); err != nil {
			t.Errorf("%s goes: %v", key, err)
		}
	}
	if err := m.CheckSupported("default", nil, parse("source=/tmp path=/mnt size=1GiB boot.priority=3")); err != nil {
		t.Error(err)
	}
	for cfg, want := range map[string]string{
		"source=/tmp path=/mnt raw.mount.options=noexec,uid=5":                       `raw.mount.options="noexec,uid=5": "uid=5" has no effect on what is no block device`,
		"source=vol pool=p path=/mnt raw.mount.options=foo":                          `raw.mount.options="foo": "foo" has no effect on what is no block device`,
		"source=/etc/passwd path=/mnt raw.mount.options=uid=1000,bogus":              `raw.mount.options="uid=1000,bogus": "uid=1000" has no effect`,
		"source=/nonexist path=/mnt required=false raw.mount.options=bogus":          `raw.mount.options="bogus": "bogus" has no effect`,
		"source=/tmp path=/mnt raw.mount.options=sync":                               `raw.mount.options="sync": "sync" has no effect`,
		"source=/tmp path=/mnt raw.mount.options=lazytime":                           `raw.mount.options="lazytime": "lazytime" has no effect`,
		"source=/tmp path=/mnt raw.mount.options=dev":                                `raw.mount.options="dev": "dev" has no effect`,
		"pool=default path=/ raw.mount.options=noexec":                               `raw.mount.options="noexec" has no effect on the root disk`,
		"source=/tmp path=/mnt raw.mount.options=ro,exec,noatime":                    "",
		"source=/tmp path=/mnt raw.mount.options=bind,nomand,norelatime,nolazytime":  "",
		"source=/dev/nonexist path=/mnt required=false raw.mount.options=uid=5,sync": "", // a file system's own, where there is one
		"source=/tmp path=/mnt required=false optional=true":                         `Cannot use both "required" and deprecated "optional" properties at the same time`,
		"source=/tmp path=/mnt optional=true":                                        "",
	} {
		err := m.CheckSupported("default", nil, parse(cfg))
		if want == "" && err != nil || want != "" && (api.StatusOf(err) != http.StatusBadRequest || !strings.HasPrefix(err.Error(), want)) {
			t.Errorf("%s: %v", cfg, err)
		}
		if err := m.CheckSupported("default", parse(cfg), parse(cfg)); err != nil {
			t.Errorf("%s is there already: %v", cfg, err)
		}
	}
	later := parse("source=/dev/nonexist path=/mnt required=false raw.mount.options=uid=5")
	if err := m.CheckSupported("default", later, parse("source=/tmp path=/mnt required=false raw.mount.options=uid=5")); api.StatusOf(err) != http.StatusBadRequest {
		t.Errorf("a folder in the place of a block device: %v", err)
	}
}

// TestADiskOfAContainerHasAPath: without, it would only be refused at the start. A profile's may be meant for others.
func TestADiskOfAContainerHasAPath(t *testing.T) {
	container := device.Instance{Type: string(api.InstanceTypeContainer)}
	err := (&Module{}).Validate(t.Context(), container, "d", parse("source=/tmp"))
	if api.StatusOf(err) != http.StatusBadRequest || err.Error() != `Disk entry is missing the required "path" property` {
		t.Errorf("got %v", err)
	}
	container.Profile = true
	if err := (&Module{}).Validate(t.Context(), container, "d", parse("source=/tmp")); err != nil {
		t.Errorf("in a profile: %v", err)
	}
}

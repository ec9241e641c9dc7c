package disk

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/device"
)

// projects holds the disks of the project "p" to a folder.
type projects struct{ folder string }

func (p projects) HostFolders(name string) ([]string, bool) {
	return []string{"/no/such/folder", p.folder}, name == "p"
}

// confined is a project whose disks have to be in the folder "in", beside which there is a folder "out".
type confined struct {
	*Module
	t    *testing.T
	top  string
	inst device.Instance
}

func newConfined(t *testing.T) *confined {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c := &confined{t: t, top: t.TempDir()}
	c.Module = &Module{Projects: projects{filepath.Join(c.top, "in")}}
	c.inst = device.Instance{ID: "c", Project: "p", DevicesPath: filepath.Join(t.TempDir(), "c")}
	for _, dir := range []string{"in/sub", "out"} {
		c.do(os.MkdirAll(filepath.Join(c.top, dir), 0o755))
	}
	for _, file := range []string{"in/file", "in/sub/mine", "out/theirs"} {
		c.do(os.WriteFile(filepath.Join(c.top, file), []byte(file), 0o600))
	}
	for name, target := range map[string]string{"link": "sub", "up": "../out", "up2": "../none", "abs": filepath.Join(c.top, "out"), "abs2": "/none", "toFile": "../out/theirs"} {
		c.do(os.Symlink(target, filepath.Join(c.top, "in", name)))
	}
	return c
}

func (c *confined) do(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// disk is the configuration of one from the folder "in", and more keys.
func (c *confined) disk(name string, more ...string) device.Config {
	return parse("path=/mnt source=" + filepath.Join(c.top, name) + " " + strings.Join(more, " "))
}

func (c *confined) start(cfg device.Config) (source string, err error) {
	started, err := c.Start(c.t.Context(), c.inst, "d", cfg, nil)
	c.t.Cleanup(func() {
		if _, err := c.Stop(c.t.Context(), c.inst, "d", cfg, nil); err != nil {
			c.t.Error(err)
		}
	})
	if err != nil || len(started.Mounts) == 0 {
		return "", err
	}
	return started.Mounts[0].Source, nil
}

func (c *confined) stop() {
	c.t.Helper()
	_, err := c.Stop(c.t.Context(), c.inst, "d", device.Config{}, nil)
	c.do(err)
	if left, _ := os.ReadDir(c.inst.DevicesPath); len(left) > 0 {
		c.t.Errorf("left over: %v", left)
	}
}

func TestAConfinedDiskStartsFromItsFolderAlone(t *testing.T) {
	c := newConfined(t)
	const outside = "resolves outside of restricted parent source path"
	for source, want := range map[string]string{
		"in": "", "in/sub": "", "in/link": "", "in/file": "", "in/sub/../file": "",
		"in/up": outside, "in/up2": outside, "in/abs": outside, "in/abs2": outside, "in/toFile": outside, "in/up/theirs": outside,
		"out": "not allowed", "in/../out": "not allowed", "inside": "not allowed",
	} {
		cfg := c.disk(source)
		at, err := c.start(cfg)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want) || api.StatusOf(err) != http.StatusForbidden):
			t.Errorf("%s: %v, not %q", source, err, want)
		case err == nil:
			is, _ := os.Stat(cfg["source"])
			if shown, err := os.Stat(at); err != nil || !os.SameFile(is, shown) {
				t.Errorf("%s shows %v, %v", source, shown, err)
			}
		}
		c.stop()
	}
}

// What was opened is what is mounted: that the source is another by the time the runtime makes the mount, or takes it away, changes nothing.
func TestASwappedSourceGainsNothing(t *testing.T) {
	c := newConfined(t)
	for _, source := range []string{"in/sub", "in/file"} {
		cfg, path := c.disk(source), filepath.Join(c.top, source)
		was, err := os.Stat(path)
		c.do(err)
		at, err := c.start(cfg)
		c.do(err)
		c.do(os.Rename(path, path+".away"))
		c.do(os.Symlink(filepath.Join(c.top, "out"), path))
		for what, mount := range map[string]string{"start": at, "unplug": c.shows(t.Context(), c.inst, "d", cfg).Source} {
			if is, err := os.Stat(mount); err != nil || !os.SameFile(was, is) {
				t.Errorf("%s: %s shows %v, %v", source, what, is, err)
			}
		}
		run := &running{}
		c.do(c.Replug(t.Context(), run, c.inst, "d", cfg, nil, []byte(`{"mounted":true}`)))
		if len(run.mounts) != 1 || run.mounts[0] != "mnt from "+at {
			t.Errorf("%s: plugged in again: %q", source, run.mounts)
		}
		second := c.inst
		second.Slot = 1 // a change of the running disk starts it once more
		if _, err := c.Start(t.Context(), second, "d", cfg, nil); api.StatusOf(err) != http.StatusForbidden {
			t.Errorf("%s: a later start: %v", source, err)
		}
		c.stop()
	}
}

func TestWhatAConfinedDiskMayNotHave(t *testing.T) {
	c := newConfined(t)
	for _, key := range []string{"shift=true", "propagation=shared", "propagation=rslave"} {
		if _, err := c.start(c.disk("in/sub", key)); api.StatusOf(err) != http.StatusForbidden || !strings.Contains(err.Error(), "restricted source path") {
			t.Errorf("%s: %v", key, err)
		}
	}
	for _, key := range []string{"shift=false", "propagation=private", "readonly=true", "recursive=true"} {
		if _, err := c.start(c.disk("in/sub", key)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
	c.stop()
	c.inst.Project = "q"
	if at, err := c.start(c.disk("in/up", "shift=true")); err != nil || at != filepath.Join(c.top, "in", "up") {
		t.Errorf("in a project without such folders: %q, %v", at, err)
	}
}

// Whether there is something where a link leads that leads out is told by no check.
func TestChecksTellNothingOfWhatIsOutside(t *testing.T) {
	c := newConfined(t)
	for there, none := range map[string]string{"in/up": "in/up2", "in/abs": "in/abs2", "in/toFile": "in/up2", "out/theirs": "out/none", "in/up/theirs": "in/up/none"} {
		for what, ask := range map[string]func(device.Config) error{
			"Check":    func(cfg device.Config) error { return c.Check(t.Context(), c.inst, "d", cfg) },
			"Validate": func(cfg device.Config) error { return c.Validate(t.Context(), c.inst, "d", cfg) },
			"Validate, recursive": func(cfg device.Config) error {
				cfg["recursive"] = "true"
				return c.Validate(t.Context(), c.inst, "d", cfg)
			},
			"CheckSupported, options": func(cfg device.Config) error {
				cfg["raw.mount.options"] = "uid=5"
				return c.CheckSupported("p", nil, cfg)
			},
		} {
			a, b := ask(c.disk(there)), ask(c.disk(none))
			if (a == nil) != (b == nil) || a != nil && strings.ReplaceAll(a.Error(), there, none) != b.Error() {
				t.Errorf("%s of %s and %s: %v, and %v", what, there, none, a, b)
			}
		}
	}
	if err := c.Check(t.Context(), c.inst, "d", c.disk("in/none")); err == nil || !strings.Contains(err.Error(), "Missing source path") {
		t.Errorf("what is missing inside: %v", err)
	}
}

// A mount beneath the source that goes with the disk does not go from the host.
func TestAStopLeavesTheHostsMounts(t *testing.T) {
	c := newConfined(t)
	at := filepath.Join(c.top, "in", "sub")
	c.do(unix.Mount("disk-test", at, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(at, unix.MNT_DETACH) })
	c.do(unix.Mount("", at, "", unix.MS_SHARED, ""))
	c.do(os.WriteFile(filepath.Join(at, "kept"), nil, 0o600))
	source, err := c.start(c.disk("in", "recursive=true"))
	c.do(err)
	if _, err := os.Stat(filepath.Join(source, "sub", "kept")); err != nil {
		t.Error(err)
	}
	c.stop()
	if _, err := os.Stat(filepath.Join(at, "kept")); err != nil {
		t.Errorf("the host has lost its mount: %v", err)
	}
}

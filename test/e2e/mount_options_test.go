package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestMountOptionsShowInMountinfo: each option that is taken shows on a folder, on a file and on a volume, or says what is so without it. On the
// root disk none shows, and none is taken.
func TestMountOptionsShowInMountinfo(t *testing.T) {
	shows := map[string]string{ // besides nodev
		"ro": "ro,relatime", "nosuid": "rw,nosuid,relatime", "nodev": "rw,relatime", "noexec": "rw,noexec,relatime", "noatime": "rw,noatime",
		"nodiratime": "rw,nodiratime,relatime", "relatime": "rw,relatime", "strictatime": "rw",
	}
	d := harness.New(t).Pool().Image()
	folder, file := filepath.Join(d.Dir, "src"), filepath.Join(d.Dir, "src", "file")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	d.Berth("storage", "volume", "create", "default", "vol")
	d.Berth("launch", "bb", "c1")
	sources := map[string][]string{"folder": {"source=" + folder}, "file": {"source=" + file}, "volume": {"pool=default", "source=vol"}}

	said := d.BerthFails("config", "device", "add", "c1", "d", "disk", "source="+folder, "path=/d", "raw.mount.options=sync")
	_, said, _ = strings.Cut(said, "(allowed: ")
	effective, rest, _ := strings.Cut(said, "; and what is so without: ")
	defaults, _, _ := strings.Cut(rest, ")")
	for _, o := range strings.Split(effective, ",") {
		if shows[o] == "" {
			t.Errorf("allowed, and nobody knows how it shows: %q", o)
		}
	}
	for _, o := range strings.Split(defaults, ",") {
		shows[o] = "rw,relatime"
	}
	for kind, source := range sources {
		for option := range shows {
			d.Berth(slices.Concat([]string{"config", "device", "add", "c1", kind + option, "disk", "path=/" + kind + "/" + option, "raw.mount.options=" + option}, source)...)
		}
	}
	mounts := d.Berth("exec", "c1", "--", "cat", "/proc/self/mountinfo")
	for kind := range sources {
		for option, want := range shows {
			if got := mountOptions(mounts, "/"+kind+"/"+option); !slices.Contains(got, "nodev") || strings.Join(without(got, "nodev", "idmapped"), ",") != want {
				t.Errorf("%s on a %s: %q, want %s and nodev", option, kind, got, want)
			}
		}
	}
	d.BerthFails("config", "device", "override", "c1", "root", "raw.mount.options=noexec")
	d.Berth("delete", "-f", "c1")
	d.Berth("storage", "volume", "delete", "default", "vol")
}

// mountOptions are those of the mount itself at a path, by proc_pid_mountinfo(5).
func mountOptions(mountinfo, at string) []string {
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 5 && f[4] == at {
			return strings.Split(f[5], ",")
		}
	}
	return nil
}

func without(list []string, words ...string) (rest []string) {
	for _, w := range list {
		if !slices.Contains(words, w) {
			rest = append(rest, w)
		}
	}
	return rest
}

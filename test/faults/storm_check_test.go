package faults

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// manifestFiles is how many files with known content lie in all that the storm acts on.
const manifestFiles = 40

func manifestFile(n int) (name, content string) {
	sum := sha256.Sum256([]byte(strconv.Itoa(n)))
	return fmt.Sprint("file", n), strings.Repeat(hex.EncodeToString(sum[:]), 1+n*n) // up to 100 kB
}

func writeManifest(t testing.TB, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := range manifestFiles {
		name, content := manifestFile(n)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// manifest compares what is in a folder with what writeManifest writes.
func manifest(dir string) error {
	for n := range manifestFiles {
		name, want := manifestFile(n)
		got, err := os.ReadFile(filepath.Join(dir, "manifest", name))
		if err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("%s/manifest/%s has %d bytes of another content", dir, name, len(got))
		}
	}
	return nil
}

// settled checks, after a kill and a start, that what is listed is whole, that what runs is as its record says, and that nothing
// else is on the host.
func (s *storm) settled(point string) {
	d := s.d
	d.T.Helper()
	s.quiet(point)
	s.whole(point)
	s.contents(point)
	s.isolated(point)
	s.processes(point)
	s.guarded(point)
	s.alone(point)
}

// contents compares the files of everything that is listed.
func (s *storm) contents(point string) {
	d := s.d
	d.T.Helper()
	check := func(what, dir string) {
		if err := manifest(dir); err != nil {
			d.T.Errorf("%s: %s is not whole: %v", point, what, err)
		}
		counts.checks.Add(1)
	}
	for _, i := range instances(d) {
		check(i.Name, filepath.Join(d.Dir, "containers", i.Name, "rootfs"))
		var snapshots []struct{ Name string }
		get(d, "instances/"+i.Name+"/snapshots?recursion=1", &snapshots)
		for _, snap := range snapshots {
			check(i.Name+"/"+snap.Name, filepath.Join(d.Dir, "snapshots", i.Name, snap.Name, "rootfs"))
		}
	}
	var volumes []struct{ Name string }
	get(d, "storage-pools/default/volumes/custom?recursion=1", &volumes)
	for _, v := range volumes {
		kind := "custom"
		if strings.Contains(v.Name, "/") {
			kind = "custom-snapshots"
		}
		check("volume "+v.Name, filepath.Join(d.Dir, "storage-pools/default", kind, "default_"+v.Name))
	}
	var images []struct{ Fingerprint string }
	get(d, "images?recursion=1", &images)
	for _, i := range images {
		if sum, err := fileSum(filepath.Join(d.Dir, "images", i.Fingerprint)); err != nil || sum != i.Fingerprint {
			d.T.Errorf("%s: the file of image %s has fingerprint %s: %v", point, i.Fingerprint, sum, err)
		}
	}
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), err
}

// isolated checks that no two isolated instances share IDs.
func (s *storm) isolated(point string) {
	d := s.d
	d.T.Helper()
	bases := map[string]string{}
	for _, i := range instances(d) {
		base := i.Config["volatile.idmap.base"]
		if i.Config["security.idmap.isolated"] != "true" || base == "" {
			continue
		}
		if other := bases[base]; other != "" {
			d.T.Errorf("%s: %s and %s share the IDs from %s on", point, i.Name, other, base)
		}
		bases[base] = i.Name
	}
	counts.checks.Add(1)
}

// processes compares the limit of processes of what runs with its record.
func (s *storm) processes(point string) {
	d := s.d
	d.T.Helper()
	for _, i := range instances(d) {
		file := "/sys/fs/cgroup/pids/lxc.payload." + d.Tag() + "." + i.Name + "/pids.max"
		data, err := os.ReadFile(file)
		if err != nil || i.Status != "Running" { // no such controller, or it is over
			continue
		}
		want := i.Config["limits.processes"]
		if want == "" {
			want = "max"
		}
		if got := strings.TrimSpace(string(data)); got != want {
			d.T.Errorf("%s: %s may have %s processes, and %s in the record", point, i.Name, got, want)
		}
		counts.checks.Add(1)
	}
}

// guarded checks that no change of the profile was lost: each counts itself, on top of what it has read.
func (s *storm) guarded(point string) {
	d := s.d
	d.T.Helper()
	n, err := strconv.ParseInt(config(d, "profiles/shared")[edits], 10, 64)
	if done, most := s.edited.Load(), s.edited.Load()+s.unknown.Load(); err != nil || n < done || n > most {
		d.T.Errorf("%s: the profile has seen %d changes, not %d to %d: %v", point, n, done, most, err)
	}
	counts.checks.Add(1)
}

// alone checks that there is nothing of what is not listed: journal entries, folders, control groups, interfaces. What an
// instance's start or end makes or takes away right now is given time.
func (s *storm) alone(point string) {
	d := s.d
	d.T.Helper()
	var left []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if left = append(s.strangers(), s.pending()...); len(left) == 0 {
			break
		}
	}
	for _, l := range left {
		d.T.Errorf("%s: left over: %s", point, l)
	}
	counts.checks.Add(2)
}

// strangers lists what belongs to no instance or volume that is listed.
func (s *storm) strangers() (left []string) {
	d := s.d
	names := map[string]bool{}
	for _, i := range instances(d) {
		if names[i.Name] = true; i.Status == "Error" {
			left = append(left, i.Name+" runs and could not be taken over")
		}
	}
	folders := func(pattern string, known func(string) bool) {
		found, _ := filepath.Glob(filepath.Join(d.Dir, pattern))
		for _, path := range found {
			if !known(filepath.Base(path)) {
				left = append(left, path)
			}
		}
	}
	listed := func(name string) bool { return names[name] }
	folders("containers/*", listed)
	folders("containers/.*", listed)
	folders("snapshots/*", listed)
	folders("devices/*", listed)
	folders("storage-pools/*/containers/*", listed)
	folders("storage-pools/*/containers/.tmp *", listed)
	folders("storage-pools/*/containers-snapshots/*", listed)
	folders("storage-pools/*/containers-snapshots/*/.*", listed)
	folders("storage-pools/*/custom*/.tmp *", listed)
	folders("networks/"+stormNet+"/dnsmasq.hosts/*", func(name string) bool { return names[strings.TrimSuffix(name, ".eth0")] })
	for _, l := range d.HostLeftovers() {
		if group, ok := strings.CutPrefix(l, "cgroup "); ok && !slices.ContainsFunc(stormNames, func(n string) bool {
			return names[n] && strings.HasSuffix(group, "."+n)
		}) {
			left = append(left, l)
		}
	}
	return append(left, s.interfaces()...)
}

// interfaces compares the host's ends of NICs with those that the records of what runs name.
func (s *storm) interfaces() (left []string) {
	d := s.d
	var all []struct {
		Name, Status string
		Config       map[string]string
		Devices      map[string]map[string]string `json:"expanded_devices"`
	}
	get(d, "instances?recursion=1", &all)
	known := map[string]string{}
	for _, i := range all {
		for name, cfg := range i.Devices {
			if cfg["type"] == "nic" && i.Status != "Stopped" {
				known[i.Config["volatile."+name+".host_name"]] = name + " of " + i.Name
			}
		}
	}
	out, _ := exec.Command("ip", "-n", d.NS, "-o", "link", "show", "type", "veth").Output()
	for line := range strings.Lines(string(out)) {
		_, line, _ = strings.Cut(line, ": ")
		name, _, _ := strings.Cut(line, "@")
		if known[name] == "" {
			left = append(left, "interface "+line)
		}
		delete(known, name)
	}
	for name, of := range known {
		left = append(left, fmt.Sprintf("interface %q of %s is missing", name, of))
	}
	return left
}

// pending lists the changes under way in the store of the running daemon, by a copy of it.
func (s *storm) pending() (left []string) {
	d := s.d
	data, err := os.ReadFile(filepath.Join(d.Dir, "database", "berth.db"))
	if err != nil {
		return []string{err.Error()}
	}
	path := filepath.Join(d.T.TempDir(), "copy.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return []string{err.Error()}
	}
	out, err := d.Try(harness.Program("berthd"), "store", "dump", path)
	if err != nil {
		return []string{"store dump: " + err.Error()}
	}
	for _, line := range strings.Split(out, "\n") {
		if strings.Contains(line, `"/journal/`) {
			left = append(left, "journal entry "+line)
		}
	}
	return left
}

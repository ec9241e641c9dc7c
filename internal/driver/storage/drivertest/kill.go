package drivertest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	storagedriver "github.com/berthd/berth/internal/driver/storage"
	"github.com/berthd/berth/internal/fault"
)

// childEnv says what a process started by RunKills does, and in which pool: "CHANGE ROOT".
const childEnv = "BERTH_DRIVERTEST_CHILD"

// Main is for the TestMain of a driver that RunKills tests: the processes to be killed are the test program itself.
func Main(m *testing.M, make Factory) {
	child := os.Getenv(childEnv)
	if child == "" {
		os.Exit(m.Run())
	}
	what, root, _ := strings.Cut(child, " ")
	if err := runChange(make(storagedriver.Config{Root: root}), what); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// change is something that is cut off. Before it there are the volume a, which holds "new", and its snapshot s0, which holds "old".
type change struct {
	name string
	do   func(ctx context.Context, d storagedriver.Driver) error
	// after, for each volume that there may be after a kill, is what it may hold.
	after map[storagedriver.Volume]string
	// then is what there is once the change has been made again, without a kill.
	then map[storagedriver.Volume]string
}

func changes() []change {
	a, b := container("a"), container("b")
	s0, s1 := snap(a, "s0"), snap(a, "s1")
	type held = map[storagedriver.Volume]string
	before := held{a: "new", s0: "old"}
	and := func(more held) held { // before, with more or other
		all := maps.Clone(before)
		maps.Copy(all, more)
		return all
	}
	moved := held{b: "new", snap(b, "s0"): "old"}
	return []change{
		{"create", func(ctx context.Context, d storagedriver.Driver) error { return d.CreateVolume(ctx, b, fill("x")) },
			and(held{b: "x"}), and(held{b: "x"})},
		{"copy", func(ctx context.Context, d storagedriver.Driver) error { return d.CopyVolume(ctx, b, s0) },
			and(held{b: "old"}), and(held{b: "old"})},
		{"snapshot", func(ctx context.Context, d storagedriver.Driver) error { return d.CreateSnapshot(ctx, s1) },
			and(held{s1: "new"}), and(held{s1: "new"})},
		{"restore", func(ctx context.Context, d storagedriver.Driver) error { return d.RestoreSnapshot(ctx, s0) },
			and(held{a: "new old"}), and(held{a: "old"})},
		{"rename", func(ctx context.Context, d storagedriver.Driver) error { return d.RenameVolume(ctx, a, b) },
			and(moved), moved},
		{"delete", func(ctx context.Context, d storagedriver.Driver) error { return d.DeleteVolume(ctx, a) },
			before, held{s0: "old"}},
		{"delete-snapshot", func(ctx context.Context, d storagedriver.Driver) error { return d.DeleteVolume(ctx, s0) },
			before, held{a: "new"}},
	}
}

func runChange(d storagedriver.Driver, name string) error {
	ctx := context.Background()
	if name == "copies" {
		return endlessCopies(ctx, d)
	}
	for _, c := range changes() {
		if c.name == name {
			return c.do(ctx, d)
		}
	}
	return errors.New("no such change: " + name)
}

// RunKills kills a process at each fault point whose name begins with prefix, in each change that passes it, and holds
// that what is left is whole or, once the pool is mounted anew, gone, and that the change then succeeds.
func RunKills(t *testing.T, folder, prefix string, make Factory) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	passed := map[string]bool{}
	for _, c := range changes() {
		for _, point := range fault.Names() {
			if !strings.HasPrefix(point, prefix) {
				continue
			}
			t.Run(c.name+" killed at "+point, func(t *testing.T) {
				s := newSuite(t, folder, make)
				if s.killAt(c, point) {
					passed[point] = true
				}
			})
		}
	}
	for _, point := range fault.Names() {
		if strings.HasPrefix(point, prefix) && !passed[point] {
			t.Errorf("no change passes %s", point)
		}
	}
	t.Run("copies killed at any instant", func(t *testing.T) { newSuite(t, folder, make).killAnywhere() })
}

func (s *suite) killAt(c change, point string) (hit bool) {
	s.ok(s.driver.CreateVolume(s.ctx, container("a"), fill("old")))
	s.ok(s.driver.CreateSnapshot(s.ctx, snap(container("a"), "s0")))
	s.write(container("a"), "new")
	cmd := s.child(c.name, fault.Env+"="+point+"=kill")
	out, err := cmd.CombinedOutput()
	if !killed(err) {
		if err != nil {
			s.Fatalf("%v: %s", err, out)
		}
		s.left(c.then, true)
		return false
	}
	s.driver = s.make(s.config)
	s.ok(s.driver.Mount(s.ctx))
	s.left(c.after, false)
	if err := c.do(s.ctx, s.driver); err != nil && !errors.Is(err, storagedriver.ErrExists) {
		s.Fatalf("again: %v", err)
	}
	s.left(c.then, true)
	return true
}

func (s *suite) child(what, env string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childEnv+"="+what+" "+s.config.Root, env)
	return cmd
}

func killed(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}

// left fails if the pool holds anything but the volumes named, each with a content that is allowed; with all, if one is
// missing.
func (s *suite) left(want map[storagedriver.Volume]string, all bool) {
	s.Helper()
	paths := map[string]string{}
	for v, text := range want {
		paths[s.driver.Path(v)] = text
	}
	found := 0
	for _, pattern := range []string{"containers/*", "containers/.*", "containers-snapshots/.*", "containers-snapshots/*/*", "containers-snapshots/*/.*"} {
		list, err := filepath.Glob(filepath.Join(s.config.Root, pattern))
		s.ok(err)
		for _, path := range list {
			text, known := paths[path]
			if !known {
				s.Fatalf("%s was left", path)
			}
			found++
			got, err := os.ReadFile(filepath.Join(path, name))
			s.ok(err)
			if !strings.Contains(" "+text+" ", " "+string(got)+" ") {
				s.Fatalf("%s holds %q, want %q", path, got, text)
			}
		}
	}
	if all && found != len(want) {
		s.Fatalf("%d of %d volumes are there", found, len(want))
	}
}

// entries is how many files killAnywhere's volume has.
const entries = 400

// endlessCopies makes copies, snapshots and removals of them in turn, and says when the first is done.
func endlessCopies(ctx context.Context, d storagedriver.Driver) error {
	for i := 0; ; i++ {
		b := container(fmt.Sprint("b", i))
		if err := d.CopyVolume(ctx, b, container("a")); err != nil {
			return err
		}
		if err := d.CreateSnapshot(ctx, snap(b, "s0")); err != nil {
			return err
		}
		fmt.Println(i)
		for _, v := range []storagedriver.Volume{b, snap(b, "s0")} {
			if err := d.DeleteVolume(ctx, v); err != nil {
				return err
			}
		}
	}
}

func (s *suite) killAnywhere() {
	s.ok(s.driver.CreateVolume(s.ctx, container("a"), func(_ context.Context, dir string) error {
		for i := range entries {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), []byte("x"), 0o600); err != nil {
				return err
			}
		}
		return nil
	}))
	for round := range 10 {
		cmd := s.child("copies", "")
		out, err := cmd.StdoutPipe()
		s.ok(err)
		s.ok(cmd.Start())
		lines := bufio.NewScanner(out)
		for range round%3 + 1 { // after a copy, a snapshot and some of a removal: anywhere, as processes go
			lines.Scan()
		}
		s.ok(cmd.Process.Kill())
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); !killed(err) {
			s.Fatalf("the child ended by itself: %v", err)
		}
		s.driver = s.make(s.config)
		s.ok(s.driver.Mount(s.ctx))
		s.allWhole()
	}
}

// allWhole holds that each volume and snapshot has all its files, and deletes those but a.
func (s *suite) allWhole() {
	s.Helper()
	list, err := os.ReadDir(filepath.Join(s.config.Root, "containers"))
	s.ok(err)
	for _, e := range list {
		v := container(e.Name())
		for _, path := range []string{s.driver.Path(v), s.driver.Path(snap(v, "s0"))} {
			files, err := os.ReadDir(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && len(files) != entries {
				s.Fatalf("%s has %d of %d files (%v)", path, len(files), entries, err)
			}
		}
		if v.Name != "a" {
			s.ok(s.driver.DeleteVolume(s.ctx, v))
		}
	}
	for i := range 50 { // of snapshots whose volume went first
		s.ok(s.driver.DeleteVolume(s.ctx, snap(container(fmt.Sprint("b", i)), "s0")))
	}
	s.clean("containers", "a")
	s.clean("containers-snapshots")
}

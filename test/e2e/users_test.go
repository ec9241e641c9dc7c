package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// localUser is an account of this machine that a test has made.
type localUser struct {
	t        *testing.T
	d        *harness.Daemon
	uid, gid uint32
	groups   []uint32
	home     string
	programs string // folder with clients that the user may run
}

// newUser makes an account for the time of a test. Its home is beside the daemon's folder.
func newUser(t *testing.T, d *harness.Daemon, groups ...uint32) *localUser {
	t.Helper()
	name := fmt.Sprintf("bt%x", time.Now().UnixNano()&0xffffffffff)
	home := filepath.Join(filepath.Dir(d.Dir), name)
	harness.Run(t, nil, "useradd", "--create-home", "--home-dir", home, "--user-group", name)
	t.Cleanup(func() { harness.Run(t, nil, "userdel", "--remove", name) })
	account, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.ParseUint(account.Uid, 10, 32)
	gid, _ := strconv.ParseUint(account.Gid, 10, 32)
	u := &localUser{t: t, d: d, uid: uint32(uid), gid: uint32(gid), groups: groups, home: home, programs: filepath.Join(filepath.Dir(d.Dir), "programs")}
	for _, program := range []string{harness.Program("berth"), harness.StockClient(t)} {
		harness.Run(t, nil, "install", "-D", "-m", "0755", program, filepath.Join(u.programs, filepath.Base(program)))
	}
	return u
}

func (u *localUser) project() string { return fmt.Sprintf("user-%d", u.uid) }

// try runs a client as the user.
func (u *localUser) try(program string, args ...string) (string, error) {
	u.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Slow(harness.Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(u.programs, program), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + u.home, "LC_ALL=C", "BERTH_DIR=" + u.d.Dir, "LXD_SOCKET=" + filepath.Join(u.d.Dir, "unix.socket.user")}
	cmd.Dir = u.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: u.uid, Gid: u.gid, Groups: u.groups}}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), nil
}

func (u *localUser) must(args ...string) string {
	u.t.Helper()
	out, err := u.try("berth", args...)
	if err != nil {
		u.t.Fatalf("berth %s: %v\n%s\n%s", strings.Join(args, " "), err, out, u.d.Log())
	}
	return out
}

func (u *localUser) fails(args ...string) {
	u.t.Helper()
	if out, err := u.try("berth", args...); err == nil {
		u.t.Errorf("berth %s succeeds: %s", strings.Join(args, " "), out)
	}
}

// serveUsers runs berth-user for a group until the test ends.
func serveUsers(t *testing.T, d *harness.Daemon, group string) {
	t.Helper()
	cmd := exec.Command(harness.Program("berth-user"), "--group", group)
	cmd.Env = d.Environ()
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("berth-user: %v", err)
		}
		if t.Failed() {
			t.Logf("berth-user's log:\n%s", log.String())
		}
	})
	harness.Eventually(t, 20*time.Second, "berth-user listens", func() bool {
		info, err := os.Stat(filepath.Join(d.Dir, "unix.socket.user"))
		return err == nil && info.Mode().Perm() == 0o660
	})
}

// TestUsersHaveAProjectEach has two users of one group work side by side, and a third who is not of it.
func TestUsersHaveAProjectEach(t *testing.T) {
	d := harness.New(t).Pool()
	const group = "tape" // there in each Debian, and empty
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	gid, _ := strconv.ParseUint(g.Gid, 10, 32)
	serveUsers(t, d, group)
	ann, bob, eve := newUser(t, d, uint32(gid)), newUser(t, d, uint32(gid)), newUser(t, d)

	image := filepath.Join(ann.home, "image.tar.gz")
	harness.Run(t, nil, "install", "-m", "0644", harness.Busybox(t), image)
	ann.must("image", "import", image, "--alias", "bb")
	ann.must("launch", "bb", "c1")
	own := strconv.Itoa(int(ann.uid))
	if ids := strings.Join(strings.Fields(ann.must("exec", "c1", "--", "cat", "/proc/self/uid_map")), " "); !strings.Contains(ids, own+" "+own+" 1") {
		t.Errorf("user %s is not themselves inside: %s", own, ids)
	}
	harness.Run(t, nil, "install", "-o", own, "-m", "0600", "/dev/null", filepath.Join(ann.home, "letter"))
	ann.must("config", "device", "add", "c1", "home", "disk", "source="+ann.home, "path=/home/me")
	if out := ann.must("exec", "c1", "--user", own, "--", "sh", "-c", "echo seen > /home/me/letter; cat /home/me/letter"); out != "seen\n" {
		t.Errorf("the home inside: %q", out)
	}
	for _, args := range [][]string{
		{"config", "device", "add", "c1", "etc", "disk", "source=/etc", "path=/mnt"}, {"config", "set", "c1", "security.privileged=true"},
		{"config", "device", "add", "c1", "bobs", "disk", "source=" + bob.home, "path=/mnt"}, {"list", "--project", "default"}, {"list", "--project", "user-" + strconv.Itoa(int(bob.uid))},
		{"project", "set", ann.project(), "restricted=false"}, {"project", "create", "more"}, {"config", "set", "user.x=y"},
	} {
		ann.fails(args...)
	}
	if out, err := ann.try("lxc", "list", "--project", ann.project(), "-f", "csv", "-c", "n"); err != nil || out != "c1\n" {
		t.Errorf("Debian's lxc: %q, %v", out, err)
	}

	if out := bob.must("list", "-f", "csv", "-c", "n"); out != "" {
		t.Errorf("bob sees %q", out)
	}
	if out := bob.must("project", "list", "-f", "csv"); strings.Count(out, "\n") != 1 || !strings.Contains(out, bob.project()) {
		t.Errorf("bob's projects: %q", out)
	}
	eve.fails("list")
	if out := d.Berth("project", "list", "-f", "csv"); strings.Contains(out, eve.project()) {
		t.Errorf("who may not use the socket has a project: %s", out)
	}

	ann.staysOut()
	removeProjects(d, ann.project())
	bob.beginsAgain()
	removeProjects(d, bob.project())
}

// staysOut takes the user's certificate away: nothing brings it back.
func (u *localUser) staysOut() {
	u.t.Helper()
	u.d.Berth("config", "trust", "remove", u.fingerprint())
	for range 2 {
		u.fails("list")
	}
	if out := u.d.Berth("config", "trust", "list", "-f", "csv"); strings.Contains(out, "berth-user-"+strconv.Itoa(int(u.uid))+",") {
		u.t.Errorf("a certificate that was removed is back: %s", out)
	}
}

func (u *localUser) fingerprint() string {
	u.t.Helper()
	for line := range strings.Lines(u.d.Berth("config", "trust", "list", "-f", "csv")) {
		if f := strings.Split(line, ","); len(f) > 3 && f[1] == fmt.Sprintf("berth-user-%d", u.uid) {
			return f[3]
		}
	}
	u.t.Fatal("the user's certificate is not trusted")
	return ""
}

// beginsAgain deletes the user's project: it is made anew when the user comes again.
func (u *localUser) beginsAgain() {
	u.t.Helper()
	u.d.Berth("project", "delete", u.project())
	u.must("list")
	if out := u.d.Berth("project", "get", u.project(), "restricted"); out != "true\n" {
		u.t.Errorf("the new project: restricted=%s", out)
	}
}

// TestAUserWhoWasHalfSetUp finds what a berth-user that was killed has left, at each of its steps, and a project that is not for users.
func TestAUserWhoWasHalfSetUp(t *testing.T) {
	d := harness.New(t).Pool()
	const group = "tape"
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	gid, _ := strconv.ParseUint(g.Gid, 10, 32)
	serveUsers(t, d, group)

	u := newUser(t, d, uint32(gid))
	d.Berth("project", "create", u.project())
	u.fails("list")
	if out := d.Berth("config", "trust", "list", "-f", "csv"); out != "" {
		t.Errorf("a project that is not restricted is given to a user: %s", out)
	}
	d.Berth("project", "delete", u.project())

	for _, left := range []string{"the mark", "the certificate", "the project", "the profile"} {
		state := filepath.Join(d.Dir, "users", strconv.Itoa(int(u.uid)))
		if left == "the mark" {
			if err := os.RemoveAll(state); err != nil {
				t.Fatal(err)
			}
			harness.Run(t, nil, "mkdir", "-p", state)
		}
		harness.Run(t, nil, "touch", filepath.Join(state, "unfinished"))
		switch left {
		case "the project":
			d.Berth("project", "create", u.project(), "-c", "restricted=true")
		case "the profile":
			d.Berth("project", "create", u.project(), "-c", "restricted=true")
			d.Berth("profile", "device", "add", "default", "root", "disk", "path=/", "pool=default", "--project", u.project())
		}
		u.must("init", "c1", "--empty")
		if out := d.Berth("list", "--project", u.project(), "-f", "csv", "-c", "n"); out != "c1\n" {
			t.Errorf("after %s was left: %q", left, out)
		}
		if _, err := os.Stat(filepath.Join(state, "unfinished")); err == nil {
			t.Errorf("after %s was left it is not finished", left)
		}
		removeProjects(d, u.project())
		d.Berth("config", "trust", "remove", u.fingerprint())
	}
}

// TestAServerThatWasHalfSetUpForItsFirstUser: the pool is there already when berth-user comes back, the network is not.
func TestAServerThatWasHalfSetUpForItsFirstUser(t *testing.T) {
	d := harness.New(t)
	const group = "tape"
	g, err := user.LookupGroup(group)
	if err != nil {
		t.Fatal(err)
	}
	gid, _ := strconv.ParseUint(g.Gid, 10, 32)
	d.Berth("storage", "create", "default", "dir")
	harness.Run(t, nil, "mkdir", "-p", "-m", "0700", filepath.Join(d.Dir, "users"))
	harness.Run(t, nil, "touch", filepath.Join(d.Dir, "users", "preparing"))
	serveUsers(t, d, group)
	u := newUser(t, d, uint32(gid))
	u.must("list")
	if out := d.Berth("profile", "show", "default", "--project", u.project()); !strings.Contains(out, "network: berthbr0") || !strings.Contains(out, "pool: default") {
		t.Errorf("the user starts from %s", out)
	}
	if _, err := os.Stat(filepath.Join(d.Dir, "users", "preparing")); err == nil {
		t.Error("the server is still being prepared")
	}
	d.Berth("project", "delete", u.project())
}

package hostile

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

func TestLinksInFilePaths(t *testing.T) {
	dir, file := hostFile(t)
	eachKind(t, nil, func(g *guest) {
		t := g.t
		g.Berth("exec", g.name, "--", "sh", "-c", fmt.Sprintf(
			"ln -s %[1]s /direct; ln -s ../../../../../../../../..%[1]s /up; ln -s %[2]s /folder; ln -s /proc/1/root%[2]s /magic", file, dir))
		for _, path := range []string{"/direct", "/up", "/folder/secret", "/magic/secret", "/proc/1/root" + file, "/proc/self/root" + file, "/proc/thread-self/cwd" + file} {
			out, err := g.Try(harness.Program("berth"), "file", "pull", g.name+path, "-")
			if err == nil && strings.Contains(out, "the host's") {
				t.Errorf("attempt: %s guest: pull through %s: NOT STOPPED", g.kind(), path)
			} else {
				g.stopped("pull through "+path, "RESOLVE_IN_ROOT")
			}
			if _, err := g.TryInput("evil", harness.Program("berth"), "file", "push", "-", g.name+path); err == nil {
				t.Logf("a push through %s went to the guest's own file", path)
			}
			if _, err := g.Try(harness.Program("berth"), "file", "delete", g.name+path); err == nil {
				t.Logf("a delete through %s took the guest's own file", path)
			}
		}
		if raw, err := os.ReadFile(file); err != nil || string(raw) != "the host's" {
			t.Errorf("the host's file holds %q, %v", raw, err)
		}
	})
}

func TestLinksInDiskTargets(t *testing.T) {
	outside, _ := hostFile(t)
	source := folder(t)
	eachKind(t, nil, func(g *guest) {
		t := g.t
		g.Berth("exec", g.name, "--", "ln", "-s", outside, "/evil")
		for n, path := range []string{"/evil", "/evil/new", "/proc/1/root" + outside + "/new"} {
			_, err := g.Try(harness.Program("berth"), "config", "device", "add", g.name, fmt.Sprint("d", n), "disk", "source="+source, "path="+path)
			if _, made := os.Lstat(filepath.Join(outside, "new")); made == nil {
				t.Errorf("attempt: %s guest: disk at %s: NOT STOPPED, the host has a new folder", g.kind(), path)
			}
			g.stopped(fmt.Sprintf("disk at %s (%v)", path, err), "the guest's own mount namespace, in which the path is walked")
		}
		if raw, _ := os.ReadFile("/proc/self/mountinfo"); bytes.Contains(raw, []byte(outside)) {
			t.Errorf("something is mounted at %s of the host", outside)
		}
		g.Berth("stop", "--force", g.name)
		// From the start, too.
		if out, err := g.Try(harness.Program("berth"), "start", g.name); err != nil {
			t.Logf("the guest does not start: %v %s", err, out)
		}
		if _, made := os.Lstat(filepath.Join(outside, "new")); made == nil {
			t.Error("the host has a new folder")
		}
	})
}

// The program that enters a guest for an exec is no way to the host's file of it.
func TestProgramOfTheHelper(t *testing.T) {
	helper := harness.Program("berth-lxc")
	before, err := os.ReadFile(helper)
	if err != nil {
		t.Fatal(err)
	}
	eachKind(t, func(g *guest) {
		if _, err := g.TryInput("#!/proc/self/exe\n", harness.Program("berth"), "file", "push", "--mode", "0755", "-", g.name+script); err != nil {
			g.t.Fatal(err)
		}
		g.Berth("file", "push", "--create-dirs", "--mode", "0755", self(g.t), g.name+linker(g.t, helper))
	}, func(g *guest) {
		t := g.t
		out, err := g.Try(harness.Program("berth"), "exec", g.name, "--", script)
		got, _ := g.Try(harness.Program("berth"), "exec", g.name, "--", "cat", interpreted)
		switch lines := strings.Split(got, "\n"); {
		case err != nil && got == "":
			g.stopped(fmt.Sprintf("run the helper inside (%v %s)", err, out), "EACCES, a copy in memory that only root of the host may run")
		case len(lines) < 2 || !strings.HasPrefix(lines[0], "/memfd:"):
			t.Errorf("attempt: %s guest: the helper's program: NOT STOPPED, it is %q", g.kind(), got)
		default:
			const write = unix.F_SEAL_WRITE | unix.F_SEAL_SEAL
			var seals int
			if _, err := fmt.Sscan(lines[1], &seals); err != nil || seals&write != write {
				t.Errorf("attempt: %s guest: the helper's program: NOT STOPPED, it is not sealed: %q", g.kind(), got)
			}
			g.stopped("write to the helper's program from within", "the seals of a copy in memory")
		}
		after, err := os.ReadFile(helper)
		if err != nil || sha256.Sum256(after) != sha256.Sum256(before) {
			t.Errorf("the helper's program was changed: %v", err)
		}
	})
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// linker is the dynamic linker that a program names.
func linker(t *testing.T, program string) string {
	t.Helper()
	raw, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := bytes.Cut(raw, []byte("/lib"))
	path, _, end := bytes.Cut(rest, []byte{0})
	if !ok || !end {
		t.Fatalf("%s names no dynamic linker", program)
	}
	return "/lib" + string(path)
}

// A guest looks for the processes that start commands in it: while they pass, and while one is held up.
func TestProcessesOfTheHelper(t *testing.T) {
	if !exists("/dev/fuse") { // its module may not be loaded
		harness.Run(t, nil, "modprobe", "fuse")
	}
	eachKind(t, nil, func(g *guest) {
		g.whileLooking([]string{"catch", "3"}, func() { g.Berth("exec", g.name, "--", "true") })
		// Until the file system is mounted there is no such program, and then it is not found until the attack ends.
		const silent = "/silent"
		held := g.whileLooking([]string{"hold", silent, fmt.Sprint(harness.Slow(time.Minute).Seconds())}, func() {
			_, _ = g.Try(harness.Program("berth"), "exec", g.name, "--", silent+"/program")
		})
		if held == 0 {
			g.t.Error("no process of the helper was held up")
		}
	})
}

// whileLooking has the guest attack processes of the helper while meanwhile is called again and again, and tells how much was refused.
func (g *guest) whileLooking(attack []string, meanwhile func()) (refused int) {
	t := g.t
	t.Helper()
	looking := exec.Command(harness.Program("berth"), append([]string{"exec", g.name, "--", program, "attack"}, attack...)...)
	looking.Env = g.Environ()
	var out bytes.Buffer
	looking.Stdout, looking.Stderr = &out, &out
	if err := looking.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- looking.Wait() }()
	for running := true; running; {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v: %s", err, &out)
			}
			running = false
		default:
			meanwhile()
		}
	}
	by := "the process is of a user namespace above, and not dumpable"
	if g.privileged && !appArmor() {
		by = "the program is in use, and sealed"
	} else if g.privileged {
		by = "the process has the guest's AppArmor label from the command's first instruction on, and not before"
	}
	for line := range strings.Lines(out.String()) {
		what, outcome, ok := strings.Cut(strings.TrimSpace(line), "\t")
		switch {
		case !ok:
			t.Log(line)
		case outcome == "absent":
		case outcome == "succeeded" && g.privileged && !appArmor() && !strings.HasSuffix(what, "exe of the helper"):
			// Root of a privileged guest has every right that it takes.
			t.Logf("attempt: %s guest: %s: not stopped, as this host has no AppArmor", g.kind(), what)
		case outcome == "succeeded":
			t.Errorf("attempt: %s guest: %s: NOT STOPPED", g.kind(), what)
		default:
			refused++
			g.stopped(what, outcome+", "+by)
		}
	}
	return refused
}

// A command that prints without end to a client that does not read costs the daemon a buffer, and nobody else anything.
func TestEndlessOutput(t *testing.T) {
	eachKind(t, nil, func(g *guest) {
		t := g.t
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		before := rss(t, g.PID())
		var clients []*exec.Cmd
		for range 3 {
			c := exec.Command(harness.Program("berth"), "exec", g.name, "--", "cat", "/dev/zero")
			c.Env, c.Stdout = g.Environ(), write
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			clients = append(clients, c)
		}
		_ = write.Close()
		// All are stuck once the pipe is full; a while later nothing has grown.
		const most = 64 << 20
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
			g.Berth("query", "/1.0/instances/"+g.name+"/state")
			if now := rss(t, g.PID()); now > before+most {
				t.Fatalf("attempt: %s guest: endless output: NOT STOPPED, the daemon has grown from %d to %d MB", g.kind(), before>>20, now>>20)
			}
		}
		g.stopped("endless output that nobody reads", "bounded buffers: the command waits")
		for _, c := range clients {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
}

func rss(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(raw), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize()
}

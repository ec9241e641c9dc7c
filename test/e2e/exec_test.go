package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

func TestExecGivesWhatTheCommandGives(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	clients := map[string]string{"berth": harness.Program("berth"), "lxc": harness.StockClient(t)}
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				command string
				code    int
			}{
				{"exit 0", 0}, {"exit 7", 7}, {"kill -9 $$", 137}, {"kill -15 $$", 143},
			} {
				_, err := d.Try(client, "exec", "c1", "--", "sh", "-c", c.command)
				if got := code(err); got != c.code {
					t.Errorf("%s: exit status %d, want %d", c.command, got, c.code)
				}
			}
			for command, want := range map[string]struct {
				code int
				says string
			}{"/nosuch": {127, "Error: Command not found"}, "/etc/passwd": {126, "Error: Command not executable"}} {
				_, err := d.Try(client, "exec", "c1", "--", command)
				var failed *harness.Failed
				if !errors.As(err, &failed) || failed.Code() != want.code || failed.Stderr != want.says {
					t.Errorf("%s: %v, want %d and %q", command, err, want.code, want.says)
				}
			}
			if _, err := d.Try(client, "exec", "c1", "--", "sh", "-c", "exit 127"); code(err) != 127 || strings.Contains(err.Error(), "not found") {
				t.Errorf("a command's own 127: %v", err)
			}
			out, err := d.TryInput("in\n", client, "exec", "c1", "--", "sh", "-c", "cat; echo err >&2; exit 3")
			var failed *harness.Failed
			if !errors.As(err, &failed) || failed.Code() != 3 || out != "in\n" || failed.Stderr != "err" {
				t.Errorf("stdin, stdout, stderr: %q, %v", out, err)
			}
			out, err = d.Try(client, "exec", "c1", "--env", "A=b c", "--cwd", "/tmp", "--user", "1000", "--group", "1001",
				"--", "sh", "-c", "echo $A; pwd; id -u; id -g")
			if err != nil || out != "b c\n/tmp\n1000\n1001\n" {
				t.Errorf("environment, folder, user and group: %q, %v", out, err)
			}
			big := strings.Repeat("0123456789abcdef", 1<<17)
			out, err = d.TryInput(big, client, "exec", "c1", "--", "cat")
			if err != nil || out != big {
				t.Errorf("2 MiB through cat: %d bytes back, %v", len(out), err)
			}
		})
	}
}

func code(err error) int {
	var failed *harness.Failed
	if errors.As(err, &failed) {
		return failed.Code()
	}
	return 0
}

func TestExecOnATerminalHasItsSize(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	script := "stty rows 33 cols 77; " + harness.Program("berth") + " exec -t c1 -- stty size"
	cmd := exec.Command("script", "--quiet", "--return", "--command", script, "/dev/null")
	cmd.Env = d.Environ()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "33 77") {
		t.Errorf("stty size inside: %q, %v", out, err)
	}
}

// TestCommandsIgnoreNoSignals: what the daemon ignores must not be ignored inside, or nothing could be hung up. The
// signals 32 and 33 are the C library's own, which some programs (make) leave ignored to whatever they start.
func TestCommandsIgnoreNoSignals(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	for _, process := range []string{"1", "self"} {
		out := d.Berth("exec", "c1", "--", "grep", "SigIgn", "/proc/"+process+"/status")
		ignored, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(out, "SigIgn:")), 16, 64)
		if err != nil || ignored&(1<<31-1) != 0 {
			t.Errorf("process %s: %s, %v", process, out, err)
		}
	}
}

func TestRecordedOutputIsKeptUntilItIsDeleted(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	out := d.Berth("query", "--wait", "-X", "POST", "-d",
		`{"command":["sh","-c","echo out; echo err >&2; exit 4"],"record-output":true}`, "/1.0/instances/c1/exec")
	var op struct {
		Metadata struct {
			Return int               `json:"return"`
			Output map[string]string `json:"output"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal([]byte(out), &op); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if op.Metadata.Return != 4 {
		t.Errorf("return is %d, want 4: %s", op.Metadata.Return, out)
	}
	for fd, want := range map[string]string{"1": "out\n", "2": "err\n"} {
		got := d.Berth("query", "--raw", op.Metadata.Output[fd])
		if got != want {
			t.Errorf("output %s is %q, want %q", fd, got, want)
		}
		d.Berth("query", "-X", "DELETE", op.Metadata.Output[fd])
	}
}

func TestFilesGoInAndOut(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "running")
	d.Berth("init", "bb", "stopped")
	local := t.TempDir()
	content := strings.Repeat("line of text\n", 100000)
	if err := os.WriteFile(filepath.Join(local, "f"), []byte(content), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"running", "stopped"} {
		t.Run(name, func(t *testing.T) {
			for who, client := range map[string]string{"berth": harness.Program("berth"), "lxc": harness.StockClient(t)} {
				mustTry(t, d, client, "file", "push", "-p", "--uid", "5", "--gid", "6", "--mode", "0604", local+"/f", name+"/root/"+who+"/dir/f")
				back := filepath.Join(local, "back-"+who+name)
				mustTry(t, d, client, "file", "pull", name+"/root/"+who+"/dir/f", back)
				if got, err := os.ReadFile(back); err != nil || string(got) != content {
					t.Errorf("%s: pulled %d bytes, %v", who, len(got), err)
				}
				if name == "running" {
					if got := d.Berth("exec", name, "--", "stat", "-c", "%u %g %a", "/root/"+who+"/dir/f"); got != "5 6 604\n" {
						t.Errorf("%s: owner and mode inside are %q", who, got)
					}
				}
				mustTry(t, d, client, "file", "pull", "-r", name+"/root/"+who, local)
				if _, err := os.Stat(filepath.Join(local, who, "dir", "f")); err != nil {
					t.Errorf("%s: recursive pull: %v", who, err)
				}
				mustTry(t, d, client, "file", "delete", name+"/root/"+who+"/dir/f")
				if _, err := d.Try(client, "file", "pull", name+"/root/"+who+"/dir/f", back); err == nil {
					t.Errorf("%s: a deleted file can be pulled", who)
				}
				if err := os.RemoveAll(filepath.Join(local, who)); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	d.Berth("exec", "running", "--", "ln", "-s", "/../../../../../../etc", "/root/out")
	d.Berth("file", "push", local+"/f", "running/root/out/berth-escape")
	if _, err := os.Stat("/etc/berth-escape"); err == nil {
		_ = os.Remove("/etc/berth-escape")
		t.Fatal("a link inside led the daemon outside")
	}
}

func mustTry(t *testing.T, d *harness.Daemon, name string, args ...string) string {
	t.Helper()
	out, err := d.Try(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, d.Log())
	}
	return out
}

package sandbox_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/sandbox"
	"github.com/berthd/berth/internal/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { os.Exit(sandboxtest.Main(m)) }

// shell runs a script, which can only use what bash does by itself, and gives what it says.
func shell(t *testing.T, l sandbox.Limits, script string) (said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd, err := sandbox.Tool(ctx, l, "/bin/bash", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	return out.String(), err
}

func TestAConfinedProgramHasNoNetwork(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if said, err := shell(t, sandbox.Limits{}, "exec 3<>/dev/tcp/127.0.0.1/"+port); err == nil || !strings.Contains(said, "not permitted") {
		t.Errorf("%v: %s", err, said)
	}
}

func TestAConfinedProgramMakesNoProcess(t *testing.T) {
	if said, _ := shell(t, sandbox.Limits{}, "/bin/true; echo made"); !strings.Contains(said, "fork: Operation not permitted") {
		t.Error(said)
	}
}

func TestAConfinedProgramWritesNoMoreThanItMay(t *testing.T) {
	dir, err := os.MkdirTemp("", "sandbox-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "f")
	if _, err := shell(t, sandbox.Limits{Output: 10}, "printf 12345 > "+file); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	if _, err := shell(t, sandbox.Limits{Output: 10}, "printf 123456789012345 > "+file); err == nil {
		t.Error("over the limit")
	}
	if info, err := os.Stat(file); err != nil || info.Size() > 10 {
		t.Error(info, err)
	}
}

func TestAConfinedProgramReadsNothingOfRoots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if said, err := shell(t, sandbox.Limits{}, "read -r line < /etc/shadow"); err == nil {
		t.Errorf("read: %s", said)
	}
}

func TestAConfinedProgramEndsWithItsTime(t *testing.T) {
	begun := time.Now()
	if _, err := shell(t, sandbox.Limits{CPU: time.Second}, "while :; do :; done"); err == nil {
		t.Error("it ended well")
	}
	if took := time.Since(begun); took > 45*time.Second {
		t.Errorf("that took %s", took)
	}
}

func TestWhatIsNotAskedForIsRefused(t *testing.T) {
	for _, args := range [][]string{nil, {"{}"}, {"{}", "run", "/bin/true"}, {`{"memory":1000000000,"cpu":1000000000,"output":-1}`, "run", "/bin/true"}, {`{"memory":1000000000,"cpu":1000000000}`, "run"}, {`{"memory":1000000000,"cpu":1000000000}`, "shell"}} {
		if out, err := exec.Command(sandbox.Program(), args...).CombinedOutput(); err == nil || len(out) == 0 {
			t.Errorf("%v: %v, %s", args, err, out)
		}
	}
}

package treecopy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/loopfs"
)

// callsEnv makes the test program copy and remove a tree and end: "SOURCE TARGET".
const callsEnv = "BERTH_TREECOPY_CALLS"

func TestMain(m *testing.M) {
	source, target, child := strings.Cut(os.Getenv(callsEnv), " ")
	if !child {
		os.Exit(m.Run())
	}
	if err := Copy(context.Background(), target, source, Options{Workers: 1}); err != nil {
		panic(err)
	}
	if err := RemoveTree(context.Background(), target); err != nil {
		panic(err)
	}
	os.Exit(0)
}

// TestCallsPerInode counts system calls, as what a copy costs is the kernel's work: those that a name needs, and no other.
func TestCallsPerInode(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("strace is missing")
	}
	const n = 500
	for _, test := range []struct {
		kind string
		make func(path string) error
		want map[string]int // calls for each name; what is not named must not be proportional to them
	}{
		{"file", func(path string) error { return os.WriteFile(path, []byte("text"), 0o644) }, map[string]int{
			"openat": 2, "fstat": 1, "pread64": 1, "pwrite64": 1, "flistxattr": 1, "utimensat": 1, "close": 2, "unlinkat": 1}},
		{"empty file", func(path string) error { return os.WriteFile(path, nil, 0o644) }, map[string]int{
			"openat": 2, "fstat": 1, "flistxattr": 1, "utimensat": 1, "close": 2, "unlinkat": 1}},
		{"link", func(path string) error { return os.Symlink("target", path) }, map[string]int{
			"newfstatat": 1, "readlinkat": 1, "symlinkat": 1, "listxattrat": 1, "utimensat": 1, "unlinkat": 1}},
		{"folder", func(path string) error { return os.Mkdir(path, 0o755) }, map[string]int{
			"newfstatat": 1, "mkdirat": 1, "openat2": 2, "lseek": 1, "getdents64": 2, "fchmod": 1, "flistxattr": 1, "utimensat": 1,
			"close": 2, "unlinkat": 1}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			top := loopfs.Mount(t, "ext4")
			source, target := filepath.Join(top, "source"), filepath.Join(top, "target")
			must(t, os.Mkdir(source, 0o755))
			must(t, os.Mkdir(target, 0o700))
			for i := range n {
				must(t, test.make(filepath.Join(source, fmt.Sprint(i))))
			}
			for call, count := range calls(t, source, target) {
				if strings.HasSuffix(call, "listxattr") && call == "llistxattr" {
					call = "listxattrat" // of a kernel before 6.13
				}
				if per := (count + n/2) / n; per > test.want[call] {
					t.Errorf("%d %s for each %s, want %d", per, call, test.kind, test.want[call])
				}
			}
		})
	}
}

// calls copies and removes a tree in a process of its own and counts that process's system calls by name. Those of Go's
// scheduler come and go with the machine's load and are left out.
func calls(t *testing.T, source, target string) map[string]int {
	t.Helper()
	out := filepath.Join(t.TempDir(), "calls")
	cmd := exec.Command("strace", "-f", "-c", "-o", out, "/proc/self/exe")
	cmd.Args[len(cmd.Args)-1] = os.Args[0]
	cmd.Env = append(os.Environ(), callsEnv+"="+source+" "+target)
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("strace: %v: %s", err, text)
	}
	data, err := os.ReadFile(out)
	must(t, err)
	counts := map[string]int{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // % time, seconds, usecs/call, calls, errors or nothing, syscall
		if len(fields) < 5 {
			continue
		}
		name := fields[len(fields)-1]
		switch name {
		case "futex", "nanosleep", "epoll_pwait", "sched_yield", "tgkill", "getpid", "rt_sigreturn", "madvise", "total":
			continue
		}
		if count, err := strconv.Atoi(fields[3]); err == nil {
			counts[name] = count
		}
	}
	if len(counts) < 5 {
		t.Fatalf("strace counted nothing: %s", data)
	}
	return counts
}

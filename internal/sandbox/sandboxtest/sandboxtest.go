// Package sandboxtest builds berth-sandbox for tests.
package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/sandbox"
)

// Main runs a package's tests with a berth-sandbox built for them. With $BERTH_BIN it is taken from there, ready made: where the tests
// run there may be no Go. The result is for os.Exit: 1 if it cannot be built.
func Main(m *testing.M) int {
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		sandbox.Program = func() string { return filepath.Join(bin, "berth-sandbox") }
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "berth-sandbox-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "berth-sandbox")
	cmd := exec.Command("go", "build", "-o", path, "github.com/berthd/berth/cmd/berth-sandbox")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build berth-sandbox: %v\n%s", err, out)
		return 1
	}
	sandbox.Program = func() string { return path }
	return m.Run()
}

// Package helpertest builds the helper berth-lxc for tests.
package helpertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Main runs a package's tests with a helper built for them, whose path it puts into program. env is added to the
// build's environment. With $BERTH_BIN it is taken from there, ready made: where the tests run there may be no compiler. The result is for
// os.Exit: 1 if the helper cannot be built.
func Main(m *testing.M, program *string, env ...string) int {
	if bin := os.Getenv("BERTH_BIN"); bin != "" {
		*program = filepath.Join(bin, "berth-lxc")
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "berth-lxc-")
	if err == nil {
		defer func() { _ = os.RemoveAll(dir) }()
		*program = filepath.Join(dir, "berth-lxc")
		err = build(*program, env)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(program string, env []string) error {
	top, err := module()
	if err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(top, "scripts/berth-lxc.sh"), program)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("berth-lxc (is lxc-dev installed?): %w\n%s", err, out)
	}
	return nil
}

// module is the folder of go.mod: tests run in their package's folder, somewhere below it.
func module() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("the tests do not run below the module's folder")
}

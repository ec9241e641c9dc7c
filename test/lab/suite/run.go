package suite

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/berthd/berth/test/lab/machine"
)

// Slowness is by how much tests multiply their time-outs in the guest: an emulated processor is five to ten times slower, on a busy
// host more.
const Slowness = 10

// Run runs the programs in the guest, one after the other, as they share its interfaces and control groups. It prints what they print and a line
// per package like that of `go test`. The error is about the guest; failed tests are in the results.
func Run(ctx context.Context, m *machine.Machine, programs []Program, results *Results) (ok bool, err error) {
	ok = true
	for _, p := range programs {
		start := time.Now()
		status, err := m.Run(ctx, script(p, m.Config), machine.Streams{Stdout: results, Stderr: results})
		if err != nil {
			return false, fmt.Errorf("%s: %w", p.Package, err)
		}
		word := "ok  "
		if status != 0 {
			word, ok = "FAIL", false
		}
		if _, err := fmt.Fprintf(results, "%s\t%s\t%.3fs\n", word, p.Package, time.Since(start).Seconds()); err != nil {
			return false, err
		}
	}
	return ok, nil
}

// script runs one program where `go test` would. There is no compiler: the tests take the built programs.
func script(p Program, c machine.Config) string {
	env := []string{"BERTH_LAB=1", "BERTH_LAB_ZFS=" + c.ZFS(), fmt.Sprintf("BERTH_TEST_SLOW=%d", Slowness), "BERTH_BIN=" + c.Tree + "/bin"}
	for _, v := range os.Environ() {
		if strings.HasPrefix(v, "BERTH_TEST_") || strings.HasPrefix(v, "BERTH_BIN=") {
			env = append(env, v)
		}
	}
	args := append([]string{p.Path, "-test.v=true", "-test.timeout=2h"}, p.Flags...)
	return fmt.Sprintf("cd %s && exec env %s %s 2>&1", words(p.Dir), words(env...), words(args...))
}

// words quotes words for the guest's shell.
func words(list ...string) string {
	var quoted []string
	for _, w := range list {
		quoted = append(quoted, machine.Quote(w))
	}
	return strings.Join(quoted, " ")
}

// Summary writes what a run came to, how long it took and how much of the host's processors; the line begins with "lab:".
func Summary(w io.Writer, r *Results, took, cpu time.Duration) {
	fmt.Fprintf(w, "lab: %d passed, %d failed, %d skipped in %.0f s, %.0f s of CPU\n", r.Count(Pass), r.Count(Fail), r.Count(Skip), took.Seconds(), cpu.Seconds())
}

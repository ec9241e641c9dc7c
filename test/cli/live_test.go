// Package cli_test compares berth with Debian's lxc, command by command, against one running daemon.
package cli_test

import (
	"bytes"
	_ "embed"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/test/harness"
)

// commands is one command per line. "@" stands for a letter that differs between the two clients, so that both make the same changes to
// objects of their own.
//
//go:embed commands.txt
var commands string

// TestBerthPrintsWhatLXCPrints asks a daemon of its own. To ask another one (LXD's, say), BERTH_LIVE_SOCKET names its socket,
// BERTH_LIVE_IMAGE the alias of an image and BERTH_LIVE_POOL a pool.
func TestBerthPrintsWhatLXCPrints(t *testing.T) {
	socket := os.Getenv("BERTH_LIVE_SOCKET")
	if socket == "" {
		d := harness.New(t).Pool().Image()
		socket = filepath.Join(d.Dir, "unix.socket")
		t.Setenv("BERTH_LIVE_IMAGE", "bb")
		t.Setenv("BERTH_LIVE_POOL", "default")
	}
	dir := t.TempDir()
	for _, d := range []string{"lxc", "conf"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	// lxc greets on its first run.
	a := client{name: "lxc", program: harness.StockClient(t), letter: "a", env: []string{"LXD_DIR=" + filepath.Dir(socket), "LXD_CONF=" + filepath.Join(dir, "lxc")}}
	b := client{name: "berth", program: harness.Program("berth"), letter: "b", env: []string{"BERTH_SOCKET=" + socket, "BERTH_CONF=" + filepath.Join(dir, "conf")}}
	a.run("remote get-default")
	for _, line := range strings.Split(commands, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t.Run(line, func(t *testing.T) {
			if diff := cmp.Diff(a.run(line), b.run(line)); diff != "" {
				t.Errorf("lxc (-) and berth (+) differ:\n%s", diff)
			}
		})
	}
}

type client struct {
	name, program, letter string
	env                   []string
}

type result struct {
	Out, Err string
	Code     int
}

func (c client) run(line string) result {
	line = strings.NewReplacer("@", c.letter, "$IMAGE", os.Getenv("BERTH_LIVE_IMAGE"), "$POOL", os.Getenv("BERTH_LIVE_POOL")).Replace(line)
	cmd := exec.Command("sh", "-c", `exec "$0" `+line, c.program)
	cmd.Env = append(os.Environ(), c.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return result{Err: err.Error(), Code: -1}
	}
	return result{Out: c.normal(out.String()), Err: c.normal(errs.String()), Code: cmd.ProcessState.ExitCode()}
}

var (
	progressLines = regexp.MustCompile(`\r[^\n\r]*`)
	uuids         = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	// lxc gives this hint or not, depending on which of two answers comes first.
	hints = regexp.MustCompile("\nTry `.*` for more info")
	// lxc has none.
	ourHints = regexp.MustCompile(`(?m)^Hint: .*\n`)
	times    = regexp.MustCompile(`20\d\d[-/]\d\d[-/]\d\d[ T]\d\d:\d\d(:\d\d\.\d+)?`)
)

// normal takes out what may differ: names, progress, times, identifiers.
func (c client) normal(s string) string {
	s = progressLines.ReplaceAllString(s, "")
	s = hints.ReplaceAllString(s, "")
	s = ourHints.ReplaceAllString(s, "")
	s = uuids.ReplaceAllString(s, "UUID")
	s = times.ReplaceAllString(s, "TIME")
	s = strings.ReplaceAll(s, "live"+c.letter, "live@")
	return strings.ReplaceAll(s, "lxc ", "berth ")
}

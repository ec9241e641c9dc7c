// Package keys_test walks the tables of configuration keys: each key has an effect that is observed on the real product, is refused by
// name, or has a written reason why no effect can be observed here. A key without an entry fails, and so does an entry without a key.
package keys_test

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/test/harness"
)

// An entry is what is known of one key. It has one of sh, refused and reason.
type entry struct {
	key string // as in the table
	on  string // what the key is set on: the name of an instance, a network, …
	set string // the value, or for a family KEY=VALUE; empty: it is not set for the observation
	// sh is run by a shell in the daemon's network namespace; see prelude. Its output, of both kinds, must match want.
	sh, want string
	refused  bool   // setting it answers 400 with its name and the reason
	reason   string // why no effect can be observed
}

// keyValue is what is set: "limits.cpu=0".
func (e entry) keyValue() string {
	if strings.Contains(e.key, "*") {
		return e.set
	}
	return e.key + "=" + e.set
}

// prelude is what every observer can use: $BERTH, $DIR (the daemon's), $PID (of the instance's init) and $C (its name).
const prelude = `
cg() { # CONTROLLER FILE-OF-V1 FILE-OF-V2
	path=$(awk -F: -v c="$1" '$2 ~ "(^|,)"c"(,|$)" {print $3}' /proc/$PID/cgroup)
	if [ -n "$path" ]; then cat "/sys/fs/cgroup/$1$path/$2"; else cat "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/$PID/cgroup)/$3"; fi
}
inside() { nsenter -t $PID -m -u -n -i -p -- "$@"; }
run() { $BERTH exec $C -- "$@"; }
until_true() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 600 ] || return 1; sleep 0.05; done; }
`

// world is a daemon that keys are observed on.
type world struct {
	*harness.Daemon
}

func newWorld(t *testing.T) *world {
	return &world{harness.New(t).Pool().Image()}
}

// sh runs a script and returns what it prints. on may be a running instance.
func (w *world) sh(t testing.TB, on, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), harness.Slow(harness.Limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", "--net=/run/netns/"+w.NS, "sh", "-c", prelude+script)
	cmd.Env = append(w.Environ(), "DIR="+w.Dir, "BERTH="+harness.Program("berth"), "C="+on, fmt.Sprint("PID=", w.pid(on)))
	out, _ := cmd.CombinedOutput()
	return string(out)
}

// pid is the init of a running instance; 0 where there is none.
func (w *world) pid(name string) int {
	var state struct{ Pid int }
	if name == "" || w.get("/1.0/instances/"+name+"/state", &state) != nil {
		return 0
	}
	return state.Pid
}

// observe runs the observers of entries, each as a test of its own.
func (w *world) observe(t *testing.T, entries []entry) {
	for _, e := range entries {
		if e.sh == "" {
			continue
		}
		t.Run(e.key, func(t *testing.T) {
			if got := w.sh(t, e.on, e.sh); !regexp.MustCompile("(?s)" + e.want).MatchString(got) {
				t.Errorf("with %s on %s: want %s, got:\n%.2000s", e.keyValue(), e.on, e.want, got)
			}
		})
	}
}

// refuse sets the keys of entries that are refused, with set, and looks at the error.
func refuse(t *testing.T, entries []entry, set func(e entry) error) {
	t.Helper()
	for _, e := range entries {
		if !e.refused {
			continue
		}
		err := set(e)
		if err == nil || !strings.Contains(err.Error(), e.key) || !strings.Contains(err.Error(), "not supported") {
			t.Errorf("%s is not refused by name and with a reason: %v", e.keyValue(), err)
		}
	}
}

// complete fails for a key without an entry, an entry without a key, and an entry that says nothing.
func complete(t *testing.T, table *config.Table, entries []entry) {
	t.Helper()
	declared := map[string]config.Key{}
	for _, k := range table.Keys() {
		declared[k.Name] = k
	}
	known := map[string]bool{}
	for _, e := range entries {
		k, ok := declared[e.key]
		if !ok {
			t.Errorf("%s has an entry here and is no key", e.key)
			continue
		}
		known[e.key] = true
		ways := 0
		for _, is := range []bool{e.sh != "", e.refused, e.reason != ""} {
			if is {
				ways++
			}
		}
		if ways != 1 || e.sh != "" && e.want == "" {
			t.Errorf("%s: an entry has an observer, is refused, or has a reason: one of them", e.key)
		}
		if !k.Settable() != e.refused && k.Unsupported != "" && k.Except == nil {
			t.Errorf("%s is refused always, and its entry does not say so", e.key)
		}
	}
	for name := range declared {
		if !known[name] {
			t.Errorf("%s is a key and has no entry here: what does it do, and how is it seen?", name)
		}
	}
}

// get reads an object of the API.
func (w *world) get(path string, into any) error {
	c, err := client.ConnectUnix(w.Dir + "/unix.socket")
	if err != nil {
		return err
	}
	_, err = c.Query("GET", path, nil, "", into)
	return err
}

// try runs our client and returns its error.
func (w *world) try(args ...string) error {
	_, err := w.Try(harness.Program("berth"), args...)
	return err
}

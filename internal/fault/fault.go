// Package fault names the instants between the steps of a change, so that a test can end the daemon, or fail
// the step, at each of them.
//
// A package declares its points as variables and hits them between steps:
//
//	var afterVolume = fault.New("instance.create.volume")
//	…
//	if err := afterVolume.Hit(); err != nil { return err }
//
// Points do nothing unless the environment arms one when the process starts: BERTH_FAULT is a comma-separated
// list of NAME=kill (SIGKILL to this process), NAME=error (Hit returns ErrInjected) or NAME=enospc (Hit returns an
// error that wraps syscall.ENOSPC). With "@N" behind it (NAME=enospc@1) only the N-th hit does something, so that the same
// process can then be asked to do the thing again. `berthd debug faults` lists all names.
package fault

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Env is the variable that arms points.
const Env = "BERTH_FAULT"

// ErrInjected is what Hit returns at a point armed with "error".
var ErrInjected = errors.New("injected fault")

// Point is one named instant.
type Point struct {
	name   string
	action string
	only   int64 // the hit that does something; 0 is every one
	hits   atomic.Int64
}

var registry struct {
	sync.Mutex
	names []string
}

var armed = sync.OnceValue(func() map[string]string { return parse(os.Getenv(Env)) })

// New declares a point. Names are dotted, from the wide to the narrow: "instance.create.volume".
func New(name string) *Point {
	registry.Lock()
	defer registry.Unlock()
	registry.names = append(registry.names, name)
	action, number, _ := strings.Cut(armed()[name], "@")
	only, _ := strconv.ParseInt(number, 10, 64)
	return &Point{name: name, action: action, only: only}
}

// Names lists every declared point, sorted.
func Names() []string {
	registry.Lock()
	defer registry.Unlock()
	names := append([]string(nil), registry.names...)
	sort.Strings(names)
	return names
}

// Hit does what the point is armed with: nothing, as a rule.
func (p *Point) Hit() error {
	if p.action == "" || p.only > 0 && p.hits.Add(1) != p.only {
		return nil
	}
	switch p.action {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "enospc":
		return fmt.Errorf("%w at %s: %w", ErrInjected, p.name, syscall.ENOSPC)
	default:
		return fmt.Errorf("%w at %s", ErrInjected, p.name)
	}
}

func parse(value string) map[string]string {
	actions := map[string]string{}
	for _, item := range strings.Split(value, ",") {
		if name, action, ok := strings.Cut(item, "="); ok {
			actions[name] = action
		}
	}
	return actions
}

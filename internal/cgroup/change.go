package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berthd/berth/internal/spec"
)

// file is where a setting is written.
type file struct{ controller, name string }

func (s Setting) file() file { return file{s.Controller, s.File} }

// Changes are the writes that bring a running group from before to after. Only what differs between the two is written: another
// file may hold what the configuration of the container itself asked for (raw.lxc). "No limit" is written where before had one.
func (h *Host) Changes(before, after spec.Cgroup) []Setting {
	had, wanted := map[file]string{}, map[file]bool{}
	was, _ := h.settings(before, false)
	for _, s := range was {
		had[s.file()] = s.Value
	}
	will, _ := h.settings(after, false)
	for _, s := range will {
		wanted[s.file()] = true
	}
	all, _ := h.settings(after, true)
	var changes []Setting
	for _, s := range all {
		if value, ok := had[s.file()]; (ok || wanted[s.file()]) && value != s.Value {
			changes = append(changes, s)
		}
	}
	return changes
}

// Look reads the files of settings: to write what it returns is to take their writes back.
func (g Group) Look(settings []Setting) ([]Setting, error) {
	var seen []Setting
	for _, s := range settings {
		dir, _ := g.host.dir(s.Controller)
		raw, err := os.ReadFile(filepath.Join(dir, g.name, s.File))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", s.File, err)
		}
		// Files of v2 with a value for each device begin with the one for all others.
		s.Value, _, _ = strings.Cut(strings.TrimSpace(string(raw)), "\n")
		if s.Value == "" && s.Controller == "cpuset" {
			s.Value = g.host.cpus("")(s.V2) // an empty list is what all are read as, and cannot be written
		}
		seen = append(seen, s)
	}
	return seen, nil
}

// Write applies settings to a group.
func (g Group) Write(settings []Setting) error {
	var failed []Setting
	for _, s := range settings {
		if g.apply(s) != nil {
			failed = append(failed, s)
		}
	}
	// A limit that hangs on another (memory+swap may not be below memory, a quota not above its period's) is
	// refused while the other has its old value; by now it has its new one. So each gets a second chance, last first.
	var errs []error
	for i := len(failed) - 1; i >= 0; i-- {
		if err := g.apply(failed[i]); err != nil {
			errs = append(errs, err)
		}
	}
	// A lowered memory limit can be refused until swap follows: once more, now that all else is set.
	if len(errs) > 0 {
		errs = nil
		for _, s := range failed {
			if err := g.apply(s); err != nil {
				errs = append(errs, fmt.Errorf("setting %s to %s: %w", s.File, s.Value, err))
			}
		}
	}
	return errors.Join(errs...)
}

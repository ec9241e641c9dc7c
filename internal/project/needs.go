package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/securefs"
	"github.com/berthd/berth/internal/spec"
)

// Need is something that is not free in a restricted project: what asks for it says which of the project's keys governs it, and which value
// that has to have at least.
type Need struct {
	// Key is "restricted.containers.nesting", for instance; empty for what no restricted project allows.
	Key string
	// Level is the least value of Key that allows it.
	Level string
	// Network is the network that is asked for, if it is one.
	Network string
	// Path is the folder, file or device of the host that is asked for, if it is one: it has to be beneath those that the project names.
	Path string
	// Anywhere is what there may be only where disks of the host may be from anywhere.
	Anywhere bool
	// IDs are the IDs of the host that are asked for, if they are some. A project that names them need not allow Key.
	IDs *spec.IDMapEntry
	// Refusal is what is said where it is not allowed: `Invalid device "d" on container "c" of project "p": GPU devices are forbidden`.
	Refusal string
}

// grants tells whether a project's configuration allows what is needed. Where there is no such key, or no such value of one, it does not.
func grants(c map[string]string, n Need) bool {
	if !config.IsTrue(c[restrictedKey]) || n.IDs != nil && grantsIDs(c, *n.IDs) {
		return true
	}
	at := slices.IndexFunc(restrictions, func(r restriction) bool { return r.key == n.Key })
	if at < 0 {
		return false
	}
	r := restrictions[at]
	value := c[r.key]
	if value == "" {
		value = r.normal
	}
	has, needs := slices.Index(r.levels, value), slices.Index(r.levels, n.Level)
	if has < 0 || needs < 0 || has < needs {
		return false
	}
	switch {
	case n.Network != "" && c[accessKey] != "":
		return slices.Contains(listed(c[accessKey]), n.Network)
	case n.Path != "" && c[pathsKey] != "":
		_, _, ok := securefs.Beneath(listed(c[pathsKey]), n.Path)
		return ok
	}
	return !n.Anywhere || c[pathsKey] == ""
}

// listed are the parts of a list with commas.
func listed(value string) []string {
	var parts []string
	for part := range strings.SplitSeq(value, ",") {
		parts = append(parts, strings.TrimSpace(part))
	}
	return parts
}

// refused is the error of the first need that a configuration does not grant.
func refused(c map[string]string, needs func() []Need) error {
	if !config.IsTrue(c[restrictedKey]) || needs == nil {
		return nil
	}
	for _, n := range needs() {
		if !grants(c, n) {
			return api.Forbidden("%s", n.Refusal)
		}
	}
	return nil
}

// Allows tells whether a project allows all that is needed (api.Forbidden with the refusal; api.NotFound where there is no such project).
// For what is written to the store, Admit keeps the answer right.
func (s *Service) Allows(name string, needs ...Need) error {
	row, err := s.row(name)
	if err != nil {
		return err
	}
	return refused(row.Value.Config, func() []Need { return needs })
}

// Permits is Allows for what needs have to be worked out of, of restricted projects alone. It is asked before anything of the host is looked
// at: what there is there is not told to those to whom it is forbidden. action is as in Admit, which is asked again when all is checked.
func (s *Service) Permits(action, name string, needs func() ([]Need, error)) error {
	row, err := s.row(name)
	if err != nil || !config.IsTrue(row.Value.Config[restrictedKey]) {
		return err
	}
	list, err := needs()
	if err != nil {
		return err
	}
	if err := refused(row.Value.Config, func() []Need { return list }); err != nil {
		return fmt.Errorf("Failed checking if %s allowed: %w", action, err)
	}
	return nil
}

// HostFolders lists the folders of the host beneath which a project's disks have to be; confined is false where they may be anywhere.
func (s *Service) HostFolders(name string) (folders []string, confined bool) {
	row, err := s.row(name)
	if err != nil {
		return nil, true // nothing is allowed to what is in no project
	}
	c := row.Value.Config
	if !config.IsTrue(c[restrictedKey]) || c[pathsKey] == "" {
		return nil, false
	}
	return listed(c[pathsKey]), true
}

// SnapshotNeed is what a snapshot needs of its project.
func SnapshotNeed(name string) Need {
	return Need{Key: "restricted.snapshots", Level: "allow", Refusal: fmt.Sprintf("Project %q doesn't allow for snapshot creation", name)}
}

// NetworkNeed is what has to be allowed for a network, or an interface of the host, to be seen in a project.
func NetworkNeed(network string, managed bool) Need {
	level := "allow"
	if managed {
		level = "managed"
	}
	return Need{Key: "restricted.devices.nic", Level: level, Network: network, Refusal: "Network not found"}
}

package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
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
	// Refusal is what is said where it is not allowed: `Invalid device "d" on container "c" of project "p": GPU devices are forbidden`.
	Refusal string
}

// restriction is a key that restricts a project, with its values from the strictest on.
type restriction struct {
	key    string
	levels []string
	normal string // what an unset key means
	doc    string
}

var restrictions = []restriction{
	{"restricted.backups", []string{"block", "allow"}, "block", "Whether instances and volumes may be backed up"},
	{"restricted.cluster.target", []string{"block", "allow"}, "block", "Whether the member of a cluster may be chosen"},
	{"restricted.containers.interception", []string{"block", "allow", "full"}, "block", "Whether system calls of containers may be intercepted"},
	{"restricted.containers.lowlevel", []string{"block", "allow"}, "block", "Whether containers may have low-level keys, such as raw.lxc"},
	{"restricted.containers.nesting", []string{"block", "allow"}, "block", "Whether containers may have security.nesting=true"},
	{"restricted.containers.privilege", []string{"isolated", "unprivileged", "allow"}, "unprivileged", "What containers have to be: isolated, unprivileged, or anything (allow)"},
	{"restricted.devices.disk", []string{"block", "managed", "allow"}, "managed", "Which disks there may be besides the root disk: none (block), volumes (managed), or any (allow)"},
	{"restricted.devices.gpu", []string{"block", "allow"}, "block", "Whether there may be devices of type gpu"},
	{"restricted.devices.infiniband", []string{"block", "allow"}, "block", "Whether there may be devices of type infiniband"},
	{"restricted.devices.nic", []string{"block", "managed", "allow"}, "managed", "Which NICs there may be, and which networks are seen: none (block), those with network= (managed), or any (allow)"},
	{"restricted.devices.pci", []string{"block", "allow"}, "block", "Whether there may be devices of type pci"},
	{"restricted.devices.proxy", []string{"block", "allow"}, "block", "Whether there may be devices of type proxy"},
	{"restricted.devices.unix-block", []string{"block", "allow"}, "block", "Whether there may be devices of type unix-block"},
	{"restricted.devices.unix-char", []string{"block", "allow"}, "block", "Whether there may be devices of type unix-char"},
	{"restricted.devices.unix-hotplug", []string{"block", "allow"}, "block", "Whether there may be devices of type unix-hotplug"},
	{"restricted.devices.usb", []string{"block", "allow"}, "block", "Whether there may be devices of type usb"},
	{"restricted.snapshots", []string{"block", "allow"}, "block", "Whether snapshots of instances and volumes may be made"},
	{"restricted.virtual-machines.lowlevel", []string{"block", "allow"}, "block", "Whether virtual machines may have low-level keys, such as raw.qemu"},
}

const (
	restrictedKey = "restricted"
	accessKey     = "restricted.networks.access"
)

// restrictionKeys are the restrictions as keys of the configuration.
func restrictionKeys() []config.Key {
	keys := []config.Key{
		{Name: restrictedKey, Type: config.Bool, Live: true, Doc: "Whether the restrictions of the restricted.* keys are in force"},
		{Name: accessKey, Validate: config.OneLine, Live: true, Doc: "Networks that the project may use, with commas between them; unset: all"},
		{Name: "restricted.devices.disk.paths", Validate: config.OneLine, Live: true, Unsupported: "disks of the host are not held to some of its folders yet",
			Doc: "Folders of the host below which disks may be, with commas between them"},
	}
	for _, r := range restrictions {
		keys = append(keys, config.Key{Name: r.key, Values: r.levels, Default: r.normal, Live: true, Doc: r.doc})
	}
	return keys
}

// grants tells whether a project's configuration allows what is needed. Where there is no such key, or no such value of one, it does not.
func grants(c map[string]string, n Need) bool {
	if !config.IsTrue(c[restrictedKey]) {
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
	return n.Network == "" || c[accessKey] == "" || slices.Contains(listed(c[accessKey]), n.Network)
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

// checkRestrictions refuses restrictions that something in the project breaks already. All of them are looked at whichever key is changed:
// what one allowed until now another may forbid. The caller holds the admissions.
func (s *Service) checkRestrictions(name string, was, now map[string]string) error {
	changed := slices.ContainsFunc(config.Changed(was, now), func(key string) bool { return strings.HasPrefix(key, restrictedKey) })
	if !changed || !config.IsTrue(now[restrictedKey]) {
		return nil
	}
	c := s.contents(name)
	for _, i := range c.Instances {
		if err := refused(now, i.Needs); err != nil {
			return api.BadRequest("Conflict detected when changing the restrictions of project %q: %w", name, err)
		}
	}
	for _, p := range c.Profiles {
		if err := refused(now, p.Needs); err != nil {
			return api.BadRequest("Conflict detected when changing the restrictions of project %q: %w", name, err)
		}
	}
	return nil
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

package project

import (
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

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
	pathsKey      = "restricted.devices.disk.paths"
	subnetsKey    = "restricted.networks.subnets"
	uidKey        = "restricted.idmap.uid"
	gidKey        = "restricted.idmap.gid"
)

// restrictionKeys are the restrictions as keys of the configuration.
func restrictionKeys() []config.Key {
	keys := []config.Key{
		{Name: restrictedKey, Type: config.Bool, Live: true, Doc: "Whether the restrictions of the restricted.* keys are in force"},
		{Name: accessKey, Validate: config.OneLine, Live: true, Doc: "Networks that the project may use, with commas between them; unset: all"},
		{Name: pathsKey, Validate: config.And(config.OneLine, config.ListOf(isAbsolute)), Allowed: "absolute paths with commas between them", Live: true,
			Doc: "Folders of the host beneath which disks may be where restricted.devices.disk allows any, with commas between them; unset: everywhere"},
		{Name: uidKey, Validate: isIDRanges, Allowed: idRanges, Live: true, Doc: "User IDs of the host that raw.idmap may name, such as 1000,2000-2999; unset: none"},
		{Name: gidKey, Validate: isIDRanges, Allowed: idRanges, Live: true, Doc: "Group IDs of the host that raw.idmap may name, such as 1000,2000-2999; unset: none"},
		// Of these there is nothing here yet to which a project could be admitted; it is denied to all, as it will be to those that lack them.
		{Name: "restricted.cluster.groups", Validate: config.OneLine, Live: true, Doc: "Groups of members of a cluster that may be chosen, with commas between them"},
		{Name: subnetsKey, Validate: config.And(config.OneLine, config.ListOf(isUplinkSubnet)), Allowed: "<uplink network>:<subnet>, with commas between them", Live: true,
			Doc: "Subnets of uplink networks that the project's networks may have, as <uplink>:<subnet>, with commas between them; unset: none"},
		{Name: "restricted.networks.uplinks", Validate: config.OneLine, Live: true, Doc: "Networks that the project's networks may have as their uplink, with commas between them; unset: none"},
		{Name: "restricted.networks.zones", Validate: config.OneLine, Live: true, Doc: "DNS zones that the project's networks may use, or something beneath, with commas between them; unset: none"},
	}
	for _, r := range restrictions {
		keys = append(keys, config.Key{Name: r.key, Values: r.levels, Default: r.normal, Live: true, Doc: r.doc})
	}
	return keys
}

// checkRestrictions refuses restrictions that something in the project breaks already. All of them are looked at whichever key is changed:
// what one allowed until now another may forbid. The caller holds the admissions.
func (s *Service) checkRestrictions(name string, was, now map[string]string) error {
	changed := slices.DeleteFunc(config.Changed(was, now), func(key string) bool { return !strings.HasPrefix(key, restrictedKey) })
	if len(changed) == 0 || !config.IsTrue(now[restrictedKey]) {
		return nil
	}
	c := s.contents(name)
	for _, i := range c.Instances {
		if err := refused(now, i.Needs); err != nil {
			return api.BadRequest("Conflict detected when changing %q in project %q: %w", strings.Join(changed, `", "`), name, err)
		}
	}
	for _, p := range c.Profiles {
		if err := refused(now, p.Needs); err != nil {
			return api.BadRequest("Conflict detected when changing %q in project %q: %w", strings.Join(changed, `", "`), name, err)
		}
	}
	return nil
}

package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/client"
)

// configured are the tables of keys by the group of commands that sets them.
var configured = map[string]string{"config": "instance", "profile": "instance", "network": "network-bridge", "storage": "storage-dir", "volume": "storage-volume", "project": "project"}

const devicePrefix = "device-"

// keys completes configuration keys; of a device those that it has.
func keys(s completing, word string) []string {
	if name, ok := s.value("<device>"); ok {
		return slices.Collect(maps.Keys(s.devices()[name]))
	}
	return append(s.keyNames(""), s.freeKeys(word, "")...)
}

// freeKeys are the user.* and other keys of the user's own that are set on the object, once some of one is there: the tables have no names
// for them.
func (s completing) freeKeys(word, suffix string) (out []string) {
	var begun []string
	for _, family := range []string{"user.", "environment.", "linux.sysctl.", "limits.kernel."} {
		if word != "" && (strings.HasPrefix(word, family) || strings.HasPrefix(family, word)) {
			begun = append(begun, family)
		}
	}
	if len(begun) == 0 {
		return nil // the server need not be asked
	}
	config, _ := s.owner()
	for key := range config {
		if slices.ContainsFunc(begun, func(family string) bool { return strings.HasPrefix(key, family) }) {
			out = append(out, key+suffix)
		}
	}
	return out
}

// owner is what the instance, profile or project that the command names has: its own configuration, and its devices.
func (s completing) owner() (map[string]string, devices) {
	if server, name, ok := s.givenName("<instance>"); ok {
		if i, _, err := server.Instance(name); err == nil {
			return i.Config, i.ExpandedDevices
		}
		return nil, nil
	}
	if server, name, ok := s.givenName("<profile>"); ok {
		if p, _, err := server.Profile(name); err == nil {
			return p.Config, p.Devices
		}
		return nil, nil
	}
	if server, name, ok := s.givenName("<project>"); ok {
		if p, _, err := server.ProjectByName(name); err == nil {
			return p.Config, nil
		}
	}
	return nil, nil
}

// assignments completes "key=", and behind it values. A value may also be the next argument.
func assignments(s completing, word string) (out []string) {
	if key, _, ok := strings.Cut(word, "="); ok {
		for _, value := range s.values(key) {
			out = append(out, key+"="+value)
		}
		return out
	}
	if last := len(s.given) - 1; last >= 0 && s.before[last].name == s.this.name && !strings.Contains(s.given[last], "=") {
		return s.values(s.given[last])
	}
	if _, device := s.value("<device>"); device {
		return s.keyNames("=")
	}
	return append(s.keyNames("="), s.freeKeys(word, "=")...)
}

func (s completing) keyNames(suffix string) (out []string) {
	for key := range s.table() {
		if !strings.Contains(key, "*") && !strings.HasPrefix(key, "volatile.") {
			out = append(out, key+suffix)
		}
	}
	return out
}

// values are those that a key may have, as far as they can be counted up: those the server names, truth values and the default.
func (s completing) values(key string) []string {
	k, ok := s.table()[key]
	switch {
	case !ok:
		return nil
	case len(k.Values) > 0:
		return k.Values
	case k.Type == "bool":
		return []string{"true", "false"}
	case k.Default != "":
		return []string{k.Default}
	}
	return nil
}

// table is the keys of what the command configures.
func (s completing) table() map[string]client.ConfigKey {
	group := s.cmd.Parent()
	if group == nil {
		return nil
	}
	if group.Name() == "device" {
		return s.deviceTable()
	}
	if s.cmd.Parent().Name() == "config" && (len(s.before) == 0 || strings.HasSuffix(s.given[0], ":")) {
		return s.tables()["server"]
	}
	return s.tables()[configured[group.Name()]]
}

// tables are those of the server that the command is about: which keys there are depends on its version.
func (s completing) tables() map[string]map[string]client.ConfigKey {
	server, ok := s.sameServer()
	if !ok {
		return nil
	}
	tables, err := server.ConfigKeys()
	if err != nil {
		return nil
	}
	return tables
}

// deviceTypes completes the types of device that there are tables for.
func deviceTypes(s completing, _ string) (out []string) {
	for entity := range s.tables() {
		if name, ok := strings.CutPrefix(entity, devicePrefix); ok {
			typ, _, _ := strings.Cut(name, "-")
			out = append(out, typ)
		}
	}
	return out
}

// deviceTable is the keys of the device that is named, or that is being added. A type of several kinds has a table of each: until the
// kind is known, the keys of all.
func (s completing) deviceTable() map[string]client.ConfigKey {
	device := s.device()
	all := s.tables()
	name := devicePrefix + device["type"]
	if one, ok := all[name]; ok {
		return one
	}
	kind := device["nictype"]
	if device["network"] != "" {
		kind = "bridged"
	}
	if one, ok := all[name+"-"+kind]; ok {
		return one
	}
	union := map[string]client.ConfigKey{}
	for _, entity := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(entity, name+"-") {
			maps.Copy(union, all[entity])
		}
	}
	return union
}

// device is what is known of the device: what it is, with what the command line says so far.
func (s completing) device() map[string]string {
	device := map[string]string{}
	if name, ok := s.value("<device>"); ok {
		maps.Copy(device, s.devices()[name])
	}
	if typ, ok := s.value("<type>"); ok {
		device["type"] = typ
	}
	for _, word := range s.given {
		if key, value, ok := strings.Cut(word, "="); ok {
			device[key] = value
		}
	}
	return device
}

func (s completing) devices() devices {
	_, all := s.owner()
	return all
}

func deviceNames(s completing, _ string) []string { return slices.Collect(maps.Keys(s.devices())) }

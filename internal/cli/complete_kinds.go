package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// completions are the kinds of words, by the names that arguments and flagValues use.
var completions = map[string]completion{
	"instance":    anyInstance,
	"running":     instancesWith(func(s api.StatusCode) bool { return s != api.Stopped }),
	"stopped":     instancesWith(func(s api.StatusCode) bool { return s != api.Running }),
	"snapshotted": snapshotted,
	"snapshot":    snapshotOf,
	"in-instance": inInstance,
	"device":      deviceNames(devicesOf),
	"image":       images,
	"alias":       namesOf(imageAliases),
	"remote": func(s completing, _ []string, _ string) []string {
		return append(s.remotes(), s.c.conf.DefaultRemote+":")
	},
	"remote-name": func(s completing, _ []string, _ string) []string { return slices.Collect(maps.Keys(s.c.conf.Remotes)) },
	"user-alias":  func(s completing, _ []string, _ string) []string { return slices.Collect(maps.Keys(s.c.conf.Aliases)) },
	"driver":      func(completing, []string, string) []string { return []string{"dir"} },
	"volume":      volumes,
	"pool":        namesOf(named((*client.Client).StoragePools, func(p api.StoragePool) string { return p.Name })),
	"network":     namesOf(named((*client.Client).Networks, func(n api.Network) string { return n.Name })),
	"profile":     namesOf(named((*client.Client).Profiles, func(p api.Profile) string { return p.Name })),
	"project":     namesOf(named((*client.Client).Projects, func(p api.Project) string { return p.Name })),
	"operation":   namesOf(named((*client.Client).Operations, func(o api.Operation) string { return o.ID })),
	"warning":     namesOf(named((*client.Client).Warnings, func(w api.Warning) string { return w.UUID })),
	"certificate": namesOf(named((*client.Client).Certificates, func(c api.Certificate) string { return c.Fingerprint })),
	"key":         withKeysOf(configOf, keysOf("instance", "")), "key=": withKeysOf(configOf, keysOf("instance", "=")),
	"profile-key": withKeysOf(profileConfigOf, keysOf("instance", "")), "profile-key=": withKeysOf(profileConfigOf, keysOf("instance", "=")),
	"instance|key": either(anyInstance, keysOf("server", "")), "instance|key=": either(anyInstance, keysOf("server", "=")),
	"device-type":        func(completing, []string, string) []string { return []string{"disk", "nic", "none"} },
	"device-key":         deviceKeys(devicesOf),
	"profile-device":     deviceNames(profileDevicesOf),
	"profile-device-key": deviceKeys(profileDevicesOf),
	"network-key":        keysOf("network-bridge", ""), "network-key=": keysOf("network-bridge", "="),
	"pool-key": keysOf("storage-dir", ""), "pool-key=": keysOf("storage-dir", "="),
	"volume-key": keysOf("storage-volume", ""), "volume-key=": keysOf("storage-volume", "="),
	"value": func(s completing, before []string, _ string) []string { return s.values(before[len(before)-1]) },
}

// named makes a list of names of a call that lists objects.
func named[T any](list func(*client.Client) ([]T, error), name func(T) string) func(*client.Client) []string {
	return func(server *client.Client) (out []string) {
		objects, err := list(server)
		if err != nil {
			return nil // completion has nobody to tell
		}
		for _, o := range objects {
			out = append(out, name(o))
		}
		return out
	}
}

// namesOf completes names on the default remote, or on the one that the word begins with.
func namesOf(list func(*client.Client) []string) completion {
	return func(s completing, _ []string, word string) []string {
		server, prefix, _, ok := s.server(word)
		if !ok {
			return nil
		}
		var out []string
		for _, name := range list(server) {
			out = append(out, prefix+name)
		}
		if prefix == "" {
			out = append(out, s.remotes()...)
		}
		return out
	}
}

var anyInstance = instancesWith(func(api.StatusCode) bool { return true })

func instancesWith(wanted func(api.StatusCode) bool) completion {
	return namesOf(func(server *client.Client) (out []string) {
		instances, err := server.Instances()
		if err != nil {
			return nil
		}
		for _, i := range instances {
			if wanted(i.StatusCode) {
				out = append(out, i.Name)
			}
		}
		return out
	})
}

// snapshotted completes instances, and behind a slash their snapshots.
func snapshotted(s completing, before []string, word string) []string {
	instance, _, isSnapshot := splitSnapshot(word)
	if !isSnapshot {
		return anyInstance(s, before, word)
	}
	var out []string
	for _, snapshot := range snapshotOf(s, []string{instance}, "") {
		out = append(out, instance+"/"+snapshot)
	}
	return out
}

// snapshotOf completes snapshots of the instance that is named before.
func snapshotOf(s completing, before []string, _ string) []string {
	server, _, name, ok := s.server(before[0])
	if !ok {
		return nil
	}
	names, err := server.InstanceSnapshotNames(name)
	if err != nil {
		return nil
	}
	return names
}

// inInstance completes instances with a slash, and behind it what is in the folder there.
func inInstance(s completing, before []string, word string) []string {
	at := strings.LastIndexByte(word, '/')
	var out []string
	if at < 0 {
		for _, name := range anyInstance(s, before, word) {
			if !strings.HasSuffix(name, ":") {
				name += "/"
			}
			out = append(out, name)
		}
		return out
	}
	server, _, name, ok := s.server(word[:at])
	if !ok {
		return nil
	}
	instance, folder, _ := strings.Cut(name, "/")
	content, info, err := server.InstanceFile(instance, "/"+folder)
	if err != nil {
		return nil
	}
	if content != nil {
		content.Close()
		return nil
	}
	for _, entry := range info.Entries {
		out = append(out, word[:at+1]+entry)
	}
	return out
}

func imageAliases(server *client.Client) []string {
	return named((*client.Client).ImageAliases, func(a api.ImageAliasesEntry) string { return a.Name })(server)
}

// images completes aliases; and fingerprints, by the twelve digits that lists show, once some of one are there.
func images(s completing, _ []string, word string) []string {
	return namesOf(func(server *client.Client) []string {
		out := imageAliases(server)
		if _, name, _ := strings.Cut(":"+word, ":"); name == "" {
			return out
		}
		return append(out, named((*client.Client).Images, func(i api.Image) string { return i.Fingerprint[:min(12, len(i.Fingerprint))] })(server)...)
	})(s, nil, word)
}

// volumes completes custom volumes of the pool that is named before.
func volumes(s completing, before []string, _ string) []string {
	server, _, pool, ok := s.server(before[0])
	if !ok {
		return nil
	}
	list, err := server.StorageVolumes(pool)
	if err != nil {
		return nil
	}
	var out []string
	for _, v := range list {
		if v.Type == "custom" && !strings.Contains(v.Name, "/") {
			out = append(out, v.Name)
		}
	}
	return out
}

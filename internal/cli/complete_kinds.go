package cli

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// completions are what arguments may be, by their names in usage lines.
var completions = map[string]completion{
	"<instance>":                instances,
	"<instance>[/<new-name>]":   instances,
	"<instance>[/<snapshot>]":   snapshotted,
	"<source>[/<snapshot>]":     snapshotted,
	"<destination>":             instances,
	"<instance>/<path>":         inInstance,
	"<instance>[/<path>]":       inInstance,
	"<snapshot>":                snapshotNames,
	"<template>":                templates,
	"<device>":                  deviceNames,
	"<type>":                    deviceTypes,
	"<key>":                     keys,
	"<key>=<value>":             assignments,
	"<image>":                   images,
	"<fingerprint>":             images,
	"<alias>":                   aliases,
	"<remote>:":                 func(s completing, _ string) []string { return append(s.remotes(), s.c.conf.DefaultRemote+":") },
	"<remote>":                  func(s completing, _ string) []string { return slices.Collect(maps.Keys(s.c.conf.Remotes)) },
	"<driver>":                  func(completing, string) []string { return []string{"dir"} },
	"<volume>":                  volumes,
	"<volume>[/<snapshot>]":     volumes,
	"<pool>":                    namesOf(namesBy((*client.Client).StoragePools, func(p api.StoragePool) string { return p.Name })),
	"<network>":                 namesOf(namesBy((*client.Client).Networks, func(n api.Network) string { return n.Name })),
	"<profile>":                 profiles,
	"<profiles>":                profileList,
	"<project>":                 namesOf(namesBy((*client.Client).Projects, func(p api.Project) string { return p.Name })),
	"<operation>":               namesOf(namesBy((*client.Client).Operations, func(o api.Operation) string { return o.ID })),
	"<warning-uuid>":            namesOf(namesBy((*client.Client).Warnings, func(w api.Warning) string { return w.UUID })),
	"<certificate>":             namesOf(namesBy((*client.Client).Certificates, func(c api.Certificate) string { return c.Fingerprint })),
	"<group>":                   namesOf(namesBy((*client.Client).AuthGroups, func(g api.AuthGroup) string { return g.Name })),
	"<identity_provider_group>": namesOf(namesBy((*client.Client).ProviderGroups, func(g api.IdentityProviderGroup) string { return g.Name })),
	"<authentication_method>/<name_or_identifier>": namesOf(namesBy((*client.Client).Identities, func(i api.Identity) string {
		return i.AuthenticationMethod + "/" + i.Identifier
	})),
	"<entity_type>": func(completing, string) []string {
		return []string{"certificate", "group", "identity", "identity_provider_group", "image", "image_alias", "instance", "network", "profile", "project", "server",
			"storage_pool", "storage_volume"}
	},
	// Nobody can guess a new name, but the remote in front of it can be completed.
	"<new-name>": namesOf(func(*client.Client) []string { return nil }),
}

// localFiles are arguments that the shell completes by itself.
var localFiles = []string{"<source path>", "<target path>", "<target>", "<cert>", "<tarball>|<directory>|<URL>", "<rootfs tarball>"}

// namesBy makes a list of names of a call that lists objects.
func namesBy[T any](list func(*client.Client) ([]T, error), name func(T) string) func(*client.Client) []string {
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
	return func(s completing, word string) []string {
		if !s.this.remote {
			server, ok := s.sameServer()
			if !ok {
				return nil
			}
			return list(server)
		}
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

// wantedState is the annotation of commands that are for instances in one state.
const wantedState = "state"

const (
	onlyStopped = "stopped" // or paused
	onlyRunning = "running" // or paused
)

// instances completes instances that the command is for.
func instances(s completing, word string) []string {
	return namesOf(func(server *client.Client) (out []string) {
		list, err := server.Instances()
		if err != nil {
			return nil
		}
		for _, i := range list {
			if wants(s.cmd, i.StatusCode) {
				out = append(out, i.Name)
			}
		}
		return out
	})(s, word)
}

// wants tells whether a command is for instances in this state.
func wants(cmd *cobra.Command, state api.StatusCode) bool {
	switch cmd.Annotations[wantedState] {
	case onlyStopped:
		return state != api.Running
	case onlyRunning:
		return state != api.Stopped
	}
	return true
}

// snapshotted completes instances, and behind a slash their snapshots.
func snapshotted(s completing, word string) (out []string) {
	raw, _, isSnapshot := splitSnapshot(word)
	if !isSnapshot {
		return instances(s, word)
	}
	if server, _, name, ok := s.server(raw); ok {
		for _, snapshot := range snapshotsOf(server, name) {
			out = append(out, raw+"/"+snapshot)
		}
	}
	return out
}

func snapshotsOf(server *client.Client, instance string) []string {
	names, err := server.InstanceSnapshotNames(instance)
	if err != nil {
		return nil
	}
	return names
}

// snapshotNames completes snapshots of the instance that is named before.
func snapshotNames(s completing, _ string) []string {
	if server, name, ok := s.givenName("<instance>[/<snapshot>]"); ok {
		return snapshotsOf(server, name)
	}
	return nil
}

func templates(s completing, _ string) []string {
	server, name, ok := s.givenName("<instance>")
	if !ok {
		return nil
	}
	names, err := server.InstanceTemplates(name)
	if err != nil {
		return nil
	}
	return names
}

// inInstance completes instances with a slash, and behind it what is in the folder there.
func inInstance(s completing, word string) []string {
	at := strings.LastIndexByte(word, '/')
	var out []string
	if at < 0 {
		for _, name := range instances(s, word) {
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
	return namesBy((*client.Client).ImageAliases, func(a api.ImageAliasesEntry) string { return a.Name })(server)
}

// images completes aliases; and fingerprints, by the twelve digits that lists show, once some of one are there.
func images(s completing, word string) []string {
	return namesOf(func(server *client.Client) []string {
		out := imageAliases(server)
		if _, name, _ := strings.Cut(":"+word, ":"); name == "" {
			return out
		}
		return append(out, namesBy((*client.Client).Images, func(i api.Image) string { return i.Fingerprint[:min(12, len(i.Fingerprint))] })(server)...)
	})(s, word)
}

// aliases completes those of images; without a remote, those of this client.
func aliases(s completing, word string) []string {
	if !s.this.remote {
		return slices.Collect(maps.Keys(s.c.conf.Aliases))
	}
	return namesOf(imageAliases)(s, word)
}

var profiles = namesOf(namesBy((*client.Client).Profiles, func(p api.Profile) string { return p.Name }))

// profileList completes the last of several profiles with commas between them.
func profileList(s completing, word string) (out []string) {
	before := word[:strings.LastIndexByte(word, ',')+1]
	for _, name := range profiles(s, word) {
		out = append(out, before+name)
	}
	return out
}

// volumes completes custom volumes of the pool that is named before.
func volumes(s completing, _ string) (out []string) {
	server, pool, ok := s.givenName("<pool>")
	if !ok {
		return nil
	}
	list, err := server.StorageVolumes(pool)
	if err != nil {
		return nil
	}
	for _, v := range list {
		if v.Type == "custom" && !strings.Contains(v.Name, "/") {
			out = append(out, v.Name)
		}
	}
	return out
}

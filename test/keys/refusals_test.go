package keys_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/device/disk"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/storage"
)

// tables are those of all keys, by what has them.
func tables() map[string]*config.Table {
	all := map[string]*config.Table{
		"instance": instance.Keys, "project": project.Keys, "disk": disk.Keys, "network": network.Keys(), "server": serverconfig.Keys,
		"pool": storage.PoolKeys(), "volume": storage.VolumeKeys(),
	}
	maps.Copy(all, nic.Tables())
	return all
}

// TestARefusalSaysWhatIsAllowed, for every key that refuses anything: its name, and what it takes if the table says so.
func TestARefusalSaysWhatIsAllowed(t *testing.T) {
	words := map[config.Type]string{config.Bool: "true or false", config.Integer: "a whole number", config.Size: "64MiB", config.Duration: "1h30m"}
	refused, allowed := 0, 0
	for kind, table := range tables() {
		for _, k := range table.Keys() {
			name := strings.ReplaceAll(k.Name, "*", "x1")
			err := table.ValidateKey(name, "~?~")
			if err == nil {
				continue
			}
			refused++
			says := k.Allowed
			if says == "" && kind == "instance" && k.Validate == nil && len(k.Values) == 0 {
				says = words[k.Type]
			}
			if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %s refuses with %q, and does not name what it takes: %q", kind, k.Name, err, says)
			}
			if says != "" {
				allowed++
			}
		}
	}
	if refused < 100 || allowed < 30 {
		t.Errorf("%d keys refuse something, %d say what they take", refused, allowed)
	}
}

// severalLines are the keys whose values may have more than one. All others come into lines of other programs, or stand for a single word.
var severalLines = []string{
	// Texts of users, whole files of other programs, and secrets.
	"user.*", "image.*", "cloud-init.user-data", "cloud-init.vendor-data", "raw.apparmor", "raw.seccomp", "raw.dnsmasq", "security.syscalls.allow",
	"security.syscalls.deny", "core.trust_password",
	// Names that are looked up, or checked with what they are for.
	"type", "network", "parent", "pool", "source", "snapshots.pattern", "volume.snapshots.pattern", "snapshots.schedule", "volume.snapshots.schedule",
}

// TestFewValuesHaveSeveralLines: for every key, what it takes is refused with a line break and more after it.
func TestFewValuesHaveSeveralLines(t *testing.T) {
	good := []string{
		"x", "true", "5", "10%", "64MiB", "1h", "3d", "10.0.0.1", "10.0.0.1/24", "fd42::1/64", "gzip -9", "both 1 1", "1:2", "0-1", "a=b", "/x", "br0",
		"00:16:3e:00:00:01", "@daily", "https://x", "none", "auto",
	}
	for kind, table := range tables() {
		for _, k := range table.Keys() {
			name := strings.ReplaceAll(k.Name, "*", "x1")
			for _, value := range append(append(good, k.Default), k.Values...) {
				if value == "" || table.ValidateKey(name, value) != nil || slices.Contains(severalLines, k.Name) || strings.HasPrefix(k.Name, "volatile.") {
					continue
				}
				if err := table.ValidateKey(name, value+"\nx"); err == nil {
					t.Errorf("%s: %s takes %q, and several lines too", kind, k.Name, value)
					break
				}
			}
		}
	}
}

package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/serverconfig"
)

// Words are those of a project's keys. Clients match on how they begin.
var words = config.Words{
	Unknown: func(name, _ string) string { return fmt.Sprintf("Invalid project configuration key %q", name) },
	Invalid: func(k config.Key, name, value string, cause error) error {
		return fmt.Errorf("Invalid project configuration key %q value: %w", name, config.InstanceWords.Invalid(k, name, value, cause))
	},
}

// Keys is the configuration of a project.
var Keys = config.NewTable(words, slices.Concat(restrictionKeys(), imageKeys(), []config.Key{
	{Name: "backups.compression_algorithm", Validate: serverconfig.IsCompression, Live: true, Doc: "Compression of backups of the project's instances and volumes, which this server makes none of yet: bzip2, gzip, lzma, xz, zstd, squashfs or none, with options after it"},
	{Name: Images.key(), Type: config.Bool, Live: true, Doc: "Whether the project has images and aliases of its own, instead of those of the default project"},
	{Name: Networks.key(), Type: config.Bool, Live: true, Doc: "Whether the project has networks of its own, instead of those of the default project"},
	{Name: Profiles.key(), Type: config.Bool, Live: true, Doc: "Whether the project has profiles of its own, instead of those of the default project"},
	{Name: Volumes.key(), Type: config.Bool, Live: true, Doc: "Whether the project has custom volumes of its own, instead of those of the default project"},
	{Name: "limits.containers", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "How many containers the project may have"},
	{Name: "limits.cpu", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "What the limits.cpu of its instances may add up to; each has to have one, and none may name CPUs"},
	{Name: "limits.disk", Type: config.Size, Live: true, Doc: "What the sizes of root disks, custom volumes and images may add up to; each disk and volume has to have one"},
	{Name: "limits.instances", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "How many instances the project may have"},
	{Name: "limits.memory", Type: config.Size, Live: true, Doc: "What the limits.memory of its instances may add up to; each has to have one, which is no percentage"},
	{Name: "limits.networks", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "How many networks the project may have"},
	{Name: "limits.processes", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "What the limits.processes of its instances may add up to; each has to have one"},
	{Name: "limits.virtual-machines", Validate: config.IsUint32, Allowed: "a whole number", Live: true, Doc: "How many virtual machines the project may have"},
	{Name: "user.*", Live: true, Doc: "Free for users; has no effect"},
})...)

// imageKeys are those of the server: where a project does not say one, the server's counts.
func imageKeys() []config.Key {
	keys := serverconfig.ImageKeys()
	for n := range keys {
		keys[n].Default = ""
	}
	return keys
}

// checkName refuses what cannot be a project's name. It stands in front of an underscore in the names of what the project has on disk, so it
// holds none itself.
func checkName(name string) error {
	switch {
	case name == "":
		return api.BadRequest("No name provided")
	case strings.Contains(name, "/"):
		return api.BadRequest("Project names may not contain slashes")
	case strings.Contains(name, " "):
		return api.BadRequest("Project names may not contain spaces")
	case strings.Contains(name, "_"):
		return api.BadRequest("Project names may not contain underscores")
	case strings.ContainsAny(name, `'"`):
		return api.BadRequest("Project names may not contain quotes")
	case name == "*":
		return api.BadRequest("Reserved project name")
	case name == "." || name == "..", len(name) > longestName, strings.ContainsFunc(name, unprintable):
		return api.BadRequest("Invalid project name %q", name)
	}
	return nil
}

// longestName is how many bytes a name has at most: with an instance's (63) and an underscore it still fits a file's name.
const longestName = 127

func unprintable(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }

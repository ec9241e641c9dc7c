package disk

import (
	"context"
	"errors"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// Keys are the keys of the device.
var Keys = config.NewTable(config.DeviceWords,
	config.Key{Name: "type", Restricted: config.Free},
	config.Key{Name: "path", Validate: cleanPath, Restricted: config.Free, Doc: "Where it is mounted inside; / for the root disk"},
	config.Key{Name: "source", Validate: cleanPath, Unsupported: "only virtual machines have a drive for cloud-init", Except: func(v string) bool { return !isSpecial(v) },
		Restricted: config.Free, Doc: "Folder or file of the host; with pool, the name of a custom volume"},
	config.Key{Name: "pool", Restricted: config.Free, Doc: "Storage pool that keeps the root disk, or that has the volume"},
	config.Key{Name: "size", Type: config.Size, Live: true, Restricted: config.Free, Doc: "Largest size of the root disk, in bytes or with a unit"},
	config.Key{Name: "size.state", Type: config.Size, Live: true, Doc: "Room for the saved running state, in bytes or with a unit",
		Unsupported: "only virtual machines keep state in a file system of its own"},
	config.Key{Name: "readonly", Type: config.Bool, Restricted: config.Free, Doc: "Let nothing be written to it from inside"},
	config.Key{Name: "recursive", Type: config.Bool, Doc: "Show what is mounted in the source, too"},
	config.Key{Name: "required", Type: config.Bool, Default: "true", Restricted: config.Free, Doc: "Refuse to start while the source is missing"},
	config.Key{Name: "optional", Type: config.Bool, Restricted: config.Free, Doc: "Old name for the opposite of required"},
	config.Key{Name: "shift", Type: config.Bool, Doc: "Show owners in the source as the numbers they have on the host"},
	config.Key{Name: "propagation", Values: []string{"private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable"},
		Doc: "Which later mounts in the source are seen on the other side, as mount(8) names it"},
	config.Key{Name: "raw.mount.options", Validate: config.OneLine, Doc: "Options for mounting the source, as mount(8) has them"},
	config.Key{Name: "limits.read", Validate: config.OneLine, Unsupported: noThrottle, Doc: "Bound of what is read, in bytes/s or as a number of iops"},
	config.Key{Name: "limits.write", Validate: config.OneLine, Unsupported: noThrottle, Doc: "Bound of what is written, in bytes/s or as a number of iops"},
	config.Key{Name: "limits.max", Validate: config.OneLine, Unsupported: noThrottle, Doc: "The same bound for limits.read and limits.write"},
	config.Key{Name: "boot.priority", Validate: config.IsUint32, Live: true, Restricted: config.Free, Doc: "Order in which virtual machines try to boot from their devices, highest first"},
	config.Key{Name: "ceph.cluster_name", Validate: config.OneLine, Doc: "Ceph cluster that has the source"},
	config.Key{Name: "ceph.user_name", Validate: config.OneLine, Doc: "Ceph user to reach the source as"},
	config.UserKey,
)

const noThrottle = "it does not bound the rate of disk I/O yet"

// Tables implements device.Describer.
func (m *Module) Tables() map[string]*config.Table { return map[string]*config.Table{"": Keys} }

// CheckSupported implements device.Refuser. Of what an earlier version took, it refuses what has no effect, too.
func (m *Module) CheckSupported(project string, was, cfg device.Config) error {
	if cfg["required"] != "" && cfg["optional"] != "" && (was["required"] == "" || was["optional"] == "") {
		return api.BadRequest(`Cannot use both "required" and deprecated "optional" properties at the same time`)
	}
	if err := m.checkOptions(project, was, cfg); err != nil {
		return err
	}
	return Keys.CheckSupported(was, cfg)
}

// checkOptions refuses options of a mount that it would not have, if they or what is mounted are new.
func (m *Module) checkOptions(project string, was, cfg device.Config) error {
	raw := cfg["raw.mount.options"]
	if raw == "" || raw == was["raw.mount.options"] && cfg["source"] == was["source"] && cfg["pool"] == was["pool"] {
		return nil
	}
	if isRoot(cfg) {
		return api.BadRequest("raw.mount.options=%q has no effect on the root disk", raw)
	}
	if cfg["pool"] == "" {
		if block, err := m.mayBeBlock(project, cfg["source"]); block || err != nil {
			return err
		}
	}
	if o := withoutEffect(raw); o != "" {
		return api.BadRequest("raw.mount.options=%q: %q has no effect on what is no block device (allowed: %s; and what is so without: bind,%s)",
			raw, o, strings.Join(bindOptions, ","), strings.Join(defaultOptions, ","))
	}
	return nil
}

// mayBeBlock tells whether a source is a block device, or may come to be one.
func (m *Module) mayBeBlock(project, source string) (bool, error) {
	st, err := m.stat(context.Background(), project, source)
	switch {
	case api.IsUnavailable(err):
		return false, err
	case err != nil:
		return strings.HasPrefix(source, "/dev/"), nil
	}
	return isBlock(st), nil
}

// cleanPath keeps out what would break the configuration file of the runtime.
func cleanPath(value string) error {
	if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("Path holds control characters")
	}
	return nil
}

// isSpecial tells sources that are no paths.
func isSpecial(source string) bool { return source == "cloud-init:config" }

// Validate implements device.Module.
func (m *Module) Validate(ctx context.Context, inst device.Instance, _ string, cfg device.Config) error {
	if cfg["source"] == "" && !isRoot(cfg) {
		return api.BadRequest(`Disk entry is missing the required "source" or "path" property`)
	}
	if err := Keys.Validate(cfg); err != nil {
		return err
	}
	if err := validateRoot(cfg); err != nil {
		return err
	}
	if err := m.validateSource(ctx, inst.Project, cfg); err != nil {
		return err
	}
	if cfg["path"] == "" && !isSpecial(cfg["source"]) && !inst.Profile && inst.Type == string(api.InstanceTypeContainer) {
		return api.BadRequest(`Disk entry is missing the required "path" property`)
	}
	if cfg["path"] != "" {
		count := 0
		for _, other := range inst.Devices {
			if other["type"] == "disk" && other["path"] == cfg["path"] {
				count++
			}
		}
		if count > 1 {
			return api.BadRequest("More than one disk device uses the same path %q", cfg["path"])
		}
	}
	return nil
}

func validateRoot(cfg device.Config) error {
	if isRoot(cfg) {
		if cfg["source"] != "" {
			return api.BadRequest(`Root disk entry may not have a "source" property set`)
		}
		if cfg["pool"] == "" {
			return api.BadRequest(`Root disk entry must have a "pool" property set`)
		}
		return nil
	}
	if cfg["size"] != "" {
		return api.BadRequest("Only the root disk may have a size quota")
	}
	if cfg["size.state"] != "" {
		return api.BadRequest("Only the root disk may have a migration size quota")
	}
	if target(cfg) == "" && cfg["path"] != "" { // "//" or "/x/..": the root by another name
		return api.BadRequest("Invalid path %q: only the root disk is mounted at the root", cfg["path"])
	}
	return nil
}

func (m *Module) validateSource(ctx context.Context, project string, cfg device.Config) error {
	source := cfg["source"]
	if config.IsTrue(cfg["recursive"]) {
		if isRoot(cfg) || cfg["pool"] != "" || !m.mayBeFolder(ctx, project, source) {
			return api.BadRequest("The recursive option is only supported for additional bind-mounted paths")
		}
		if config.IsTrue(cfg["readonly"]) {
			return api.BadRequest("Recursive read-only bind-mounts aren't currently supported by the kernel")
		}
	}
	if cfg["ceph.cluster_name"] != "" || cfg["ceph.user_name"] != "" {
		return api.BadRequest("Invalid options ceph.cluster_name/ceph.user_name for source %q", source)
	}
	if cfg["pool"] != "" {
		if strings.HasPrefix(source, "/") {
			return api.BadRequest("Storage volumes cannot be specified as absolute paths")
		}
		if cfg["shift"] != "" {
			return api.BadRequest(`The "shift" property cannot be used with custom storage volumes (set "security.shifted=true" on the volume instead)`)
		}
		return nil
	}
	if !isRoot(cfg) && !isSpecial(source) && !strings.HasPrefix(source, "/") {
		return api.BadRequest("Source path must be absolute for local sources")
	}
	return nil
}

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) storageVolumeCommand() *cobra.Command {
	cmd := group("volume", T("Manage volumes that instances can share and keep"),
		c.volumeAttachCommand(), c.volumeDetachCommand(), c.volumeAttachProfileCommand(), c.volumeDetachProfileCommand(),
		c.volumeCopyCommand(), c.volumeMoveCommand(), c.volumeCreateCommand(), c.volumeDeleteCommand(), c.volumeEditCommand(),
		c.volumeGetCommand(), c.volumeInfoCommand(), c.volumeListCommand(), c.volumeRenameCommand(), c.volumeRestoreCommand(),
		c.volumeSetCommand(), c.volumeShowCommand(), c.volumeSnapshotCommand(), c.volumeUnsetCommand())
	cmd.Long = T(`A volume is a custom one, which you made, unless its name begins with another type: container/web is what
the container web has for its root.`)
	return cmd
}

const (
	volumeArgument   = "<volume>"
	snapshotArgument = "<volume>[/<snapshot>]"
)

// volumeName is a volume as the command line names it: [<type>/]<volume>[/<snapshot>].
type volumeName struct{ kind, name, snapshot string }

func parseVolume(raw string) volumeName {
	v := volumeName{kind: "custom"}
	parts := strings.SplitN(raw, "/", 2)
	if len(parts) == 2 && slices.Contains([]string{"container", "virtual-machine", "custom", "image"}, parts[0]) {
		v.kind, raw = parts[0], parts[1]
	}
	v.name, v.snapshot, _ = strings.Cut(raw, "/")
	return v
}

// path names the volume where the API takes volume/snapshot for those of instances.
func (v volumeName) path() string {
	if v.snapshot == "" {
		return v.name
	}
	return v.name + "/" + v.snapshot
}

func (c *App) volumeCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("create", poolArgument, "<new-name>", "[key=value...]"),
		Short: T("Make a custom volume"),
	}
	target := targetFlag(cmd)
	content := cmd.Flags().String("type", "filesystem", T("What it holds: filesystem or block")+"``")
	cmd.RunE = takes(2, -1, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		// Only the name as it was given: a slash is refused by the server with a text that says so.
		post := api.StorageVolumesPost{Name: args[1], Type: "custom", ContentType: *content}
		if post.Config, err = pairs(args[2:]); err != nil {
			return err
		}
		if err := server.CreateStorageVolume(pool, post); err != nil {
			return err
		}
		c.say(T("Storage volume %s created"), args[1])
		return nil
	})
	return cmd
}

func (c *App) volumeDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("delete", poolArgument, snapshotArgument), Aliases: []string{"rm"},
		Short: T("Delete a custom volume, or a snapshot of one"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		if v.snapshot != "" {
			err = c.waitStarted(server.DeleteStorageVolumeSnapshot(pool, v.name, v.snapshot))
		} else {
			err = server.DeleteStorageVolume(pool, v.kind, v.name)
		}
		if err != nil {
			return err
		}
		c.say(T("Storage volume %s deleted"), args[1])
		return nil
	})
	return cmd
}

func (c *App) volumeListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", poolArgument, "[<filter>...]"), Aliases: []string{"ls"},
		Short: T("List the volumes of a pool"),
		Long: paragraphs(T(`The columns to show are given with -c, one letter each, with or without commas between.`), T(`The letters are:
    c - what it holds: filesystem or block
    d - description
    e - project
    L - cluster member it is on
    n - name
    t - type: custom, image, container or virtual-machine
    u - how many use it
    U - space it takes`)),
	}
	format := formatFlag(cmd)
	all := cmd.Flags().Bool("all-projects", false, T("List the volumes of all projects")+"``")
	columns := cmd.Flags().StringP("columns", "c", defaultVolumeColumns, T("Columns")+"``")
	cmd.RunE = takes(1, -1, func(args []string) error {
		server, pool, err := c.pool(args[0], "")
		if err != nil {
			return err
		}
		// Project and location are shown only where there is more than one.
		spec := strings.ReplaceAll(*columns, "L", "")
		if !*all {
			spec = strings.ReplaceAll(spec, "e", "")
		}
		cols, err := parseColumns(spec, volumeColumns(server, pool))
		if err != nil {
			return err
		}
		volumes, err := listVolumes(server, pool, *all)
		if err != nil {
			return err
		}
		volumes = slices.DeleteFunc(volumes, func(v api.StorageVolume) bool { return !matchVolume(v, args[1:]) })
		if *all {
			slices.SortFunc(volumes, func(a, b api.StorageVolume) int {
				return cmp.Or(cmp.Compare(a.Project, b.Project), cmp.Compare(a.Type, b.Type),
					cmp.Compare(strings.Count(a.Name, "/"), strings.Count(b.Name, "/")), cmp.Compare(a.Name, b.Name))
			})
		} else {
			slices.SortStableFunc(volumes, func(a, b api.StorageVolume) int { return naturalCompare(a.Name, b.Name) })
		}
		header, rows := tableOf(cols, volumes)
		return c.printTable(*format, header, rows, volumes)
	})
	return cmd
}

// defaultVolumeColumns are the columns where nobody asks for others.
const defaultVolumeColumns = "etndcuL"

func listVolumes(server *client.Client, pool string, all bool) ([]api.StorageVolume, error) {
	if all {
		return server.StorageVolumesAllProjects(pool)
	}
	return server.StorageVolumes(pool)
}

// matchVolume applies filters: key=value for a field or configuration key, or a name as lists of instances take it.
func matchVolume(v api.StorageVolume, filters []string) bool {
	for _, f := range filters {
		if key, value, isPair := strings.Cut(f, "="); isPair {
			if have, set := volumeProperty(v, key); !(set || value == "") || !propertyPattern(value)(have) {
				return false
			}
		} else if !strings.HasPrefix(v.Name, f) && !patternOf(f)(v.Name) {
			return false
		}
	}
	return true
}

// volumeProperty is a field of a volume or a key of its configuration, and whether that is set.
func volumeProperty(v api.StorageVolume, key string) (string, bool) {
	switch key {
	case "type":
		return v.Type, true
	case "name":
		return v.Name, true
	case "content_type":
		return v.ContentType, true
	case "project":
		return v.Project, true
	case "location":
		return v.Location, true
	case "description":
		return v.Description, true
	}
	value, set := v.Config[strings.TrimPrefix(key, "config.")]
	return value, set
}

func volumeColumns(server *client.Client, pool string) map[rune]column[api.StorageVolume] {
	return map[rune]column[api.StorageVolume]{
		'c': {T("CONTENT-TYPE"), func(v api.StorageVolume) string { return v.ContentType }},
		'd': {T("DESCRIPTION"), func(v api.StorageVolume) string { return v.Description }},
		'e': {T("PROJECT"), func(v api.StorageVolume) string { return v.Project }},
		'L': {T("LOCATION"), func(v api.StorageVolume) string { return v.Location }},
		'n': {T("NAME"), func(v api.StorageVolume) string { return v.Name }},
		't': {T("TYPE"), func(v api.StorageVolume) string {
			if strings.Contains(v.Name, "/") {
				return fmt.Sprintf("%s (snapshot)", v.Type)
			}
			return v.Type
		}},
		'u': {T("USED BY"), func(v api.StorageVolume) string { return strconv.Itoa(len(v.UsedBy)) }},
		'U': {T("USAGE"), func(v api.StorageVolume) string {
			if strings.Contains(v.Name, "/") {
				return ""
			}
			state, err := server.StorageVolumeState(pool, v.Type, v.Name)
			if err != nil || state.Usage == nil || state.Usage.Used == 0 {
				return ""
			}
			return byteSizeIEC(int64(state.Usage.Used), 2)
		}},
	}
}

func (c *App) volumeShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("show", poolArgument, snapshotArgument),
		Short: T("Print a volume as YAML"),
		Example: examples(
			"berth storage volume show fast data", T("Print the custom volume data of the pool fast."),
			"berth storage volume show fast container/web", T("Print the volume that the container web has for its root."),
		),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		if v.snapshot != "" {
			snap, _, err := server.StorageVolumeSnapshot(pool, v.kind, v.name, v.snapshot)
			if err != nil {
				return err
			}
			return c.printYAML(snap)
		}
		volume, _, err := server.StorageVolume(pool, v.kind, v.name)
		if err != nil {
			return err
		}
		slices.Sort(volume.UsedBy)
		return c.printYAML(volume)
	})
	return cmd
}

func (c *App) volumeInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("info", poolArgument, volumeArgument),
		Short: T("Tell how much space a volume takes, and its snapshots"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		state, err := server.StorageVolumeState(pool, v.kind, v.path())
		if err != nil {
			return err
		}
		volume, _, err := server.StorageVolume(pool, v.kind, v.path())
		if err != nil {
			return err
		}
		w := printableWriter{c.Out}
		fmt.Fprintf(w, T("Name: %s")+"\n", volume.Name)
		if volume.Description != "" {
			fmt.Fprintf(w, T("Description: %s")+"\n", volume.Description)
		}
		fmt.Fprintf(w, T("Type: %s")+"\n", volume.Type)
		fmt.Fprintf(w, T("Content type: %s")+"\n", volume.ContentType)
		if state.Usage != nil {
			fmt.Fprintf(w, T("Usage: %s")+"\n", byteSizeIEC(int64(state.Usage.Used), 2))
		}
		return nil
	})
	return cmd
}

func (c *App) volumeGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("get", poolArgument, snapshotArgument, "<key>"),
		Short: T("Print the value of a volume's key"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(3, 3, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		var config map[string]string
		if v.snapshot != "" {
			snap, _, err := server.StorageVolumeSnapshot(pool, v.kind, v.name, v.snapshot)
			if err != nil {
				return err
			}
			config = snap.Config
		} else {
			volume, _, err := server.StorageVolume(pool, v.kind, v.name)
			if err != nil {
				return err
			}
			config = volume.Config
		}
		if value, ok := config[args[2]]; ok {
			fmt.Fprintln(c.Out, value)
		}
		return nil
	})
	return cmd
}

func (c *App) volumeSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("set", poolArgument, volumeArgument, "<key>=<value>..."),
		Short: T("Give keys of a volume new values"),
		Long: T(`One key and its value may also be two arguments:
    berth storage volume set [<remote>:]<pool> <volume> <key> <value>`),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(3, -1, func(args []string) error {
		return c.setVolumeKeys(args[0], args[1], *target, args[2:]...)
	})
	return cmd
}

func (c *App) volumeUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("unset", poolArgument, volumeArgument, "<key>"),
		Short: T("Take a key of a volume away, so that its default counts again"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(3, 3, func(args []string) error {
		return c.setVolumeKeys(args[0], args[1], *target, args[2]+"=")
	})
	return cmd
}

func (c *App) setVolumeKeys(rawPool, rawVolume, target string, args ...string) error {
	server, pool, err := c.pool(rawPool, target)
	if err != nil {
		return err
	}
	keys, err := c.keyValues(args...)
	if err != nil {
		return err
	}
	v := parseVolume(rawVolume)
	if v.snapshot != "" {
		return errors.New(T("Snapshots are read-only and can't have their configuration changed"))
	}
	volume, etag, err := server.StorageVolume(pool, v.kind, v.name)
	if err != nil {
		return err
	}
	if volume.Config == nil {
		volume.Config = map[string]string{}
	}
	for key, value := range keys {
		volume.Config[key] = value
	}
	return server.UpdateStorageVolume(pool, v.kind, v.name, volume.StorageVolumePut, etag)
}

func (c *App) volumeEditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("edit", poolArgument, snapshotArgument),
		Short: T("Change a volume in an editor"),
		Example: examples(
			"berth storage volume edit fast data", T("Open the volume in $EDITOR, and take over what is saved."),
			"berth storage volume edit fast data < data.yaml", T("Take it from a file, without an editor."),
		),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, pool, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		v := parseVolume(args[1])
		if v.snapshot != "" {
			return c.editVolumeSnapshot(server, pool, v)
		}
		volume, etag := (*api.StorageVolume)(nil), ""
		if isTerminal(c.In) {
			if volume, etag, err = server.StorageVolume(pool, v.kind, v.name); err != nil {
				return err
			}
		}
		return c.editYAML(storageVolumeHelp(), volume, func(data []byte) error {
			var next api.StorageVolume
			if err := fromYAML(data, &next); err != nil {
				return err
			}
			return server.UpdateStorageVolume(pool, v.kind, v.name, next.StorageVolumePut, etag)
		})
	})
	return cmd
}

func (c *App) editVolumeSnapshot(server *client.Client, pool string, v volumeName) (err error) {
	snap, etag := (*api.StorageVolumeSnapshot)(nil), ""
	if isTerminal(c.In) {
		if snap, etag, err = server.StorageVolumeSnapshot(pool, v.kind, v.name, v.snapshot); err != nil {
			return err
		}
	}
	return c.editYAML(storageVolumeHelp(), snap, func(data []byte) error {
		var next api.StorageVolumeSnapshot
		if err := fromYAML(data, &next); err != nil {
			return err
		}
		return server.UpdateStorageVolumeSnapshot(pool, v.kind, v.name, v.snapshot, next.StorageVolumeSnapshotPut, etag)
	})
}

func storageVolumeHelp() string {
	return yamlHelp(T(`The volume as YAML. Lines that begin with # are left out. What can be changed is config and description; of
a snapshot, description and expires_at.

For example:
config:
  size: 10GiB
description: what the web shop keeps`))
}

package cli

import (
	"errors"
	"fmt"
	"net/url"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) storageCommand() *cobra.Command {
	return group("storage", T("Manage pools of storage and the volumes on them"),
		c.storageCreateCommand(), c.storageDeleteCommand(), c.storageEditCommand(), c.storageGetCommand(), c.storageInfoCommand(),
		c.storageListCommand(), c.storageSetCommand(), c.storageShowCommand(), c.storageUnsetCommand(), c.storageVolumeCommand())
}

// poolArgument is how the usage lines name a pool.
const poolArgument = "[<remote>:]<pool>"

// pool parses the argument that names a pool.
func (c *App) pool(raw, target string) (*client.Client, string, error) {
	server, name, err := c.named(raw, T("Missing pool name"))
	if err != nil {
		return nil, "", err
	}
	return server.UseTarget(target), name, nil
}

// pairs reads arguments of the form key=value.
func pairs(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, fmt.Errorf(T("Bad key=value pair: [%s]"), arg)
		}
		out[key] = value
	}
	return out, nil
}

func (c *App) storageCreateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("create", "[<remote>:]<new-name>", "<driver>", "[key=value...]"),
		Short: T("Make a storage pool"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, -1, func(args []string) error {
		server, name, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		post := api.StoragePoolsPost{Name: name, Driver: args[1]}
		if post.Config, err = pairs(args[2:]); err != nil {
			return err
		}
		if err := server.CreateStoragePool(post); err != nil {
			return err
		}
		if !c.flagQuiet {
			fmt.Fprintf(c.Out, T("Storage pool %s created")+"\n", name)
		}
		return nil
	})
	return cmd
}

func (c *App) storageDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: usage("delete", poolArgument), Aliases: []string{"rm"},
		Short: T("Delete a storage pool"),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.pool(args[0], "")
			if err != nil {
				return err
			}
			if err := server.DeleteStoragePool(name); err != nil {
				return err
			}
			if !c.flagQuiet {
				fmt.Fprintf(c.Out, T("Storage pool %s deleted")+"\n", name)
			}
			return nil
		}),
	}
}

func (c *App) storageEditCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("edit", poolArgument),
		Short: T("Change a storage pool in an editor"),
		Example: examples(
			"berth storage edit fast", T("Open the pool in $EDITOR, and take over what is saved."),
			"berth storage edit fast < fast.yaml", T("Take it from a file, without an editor."),
		),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.pool(args[0], "")
			if err != nil {
				return err
			}
			pool, etag := (*api.StoragePool)(nil), ""
			if isTerminal(c.In) {
				if pool, etag, err = server.StoragePool(name); err != nil {
					return err
				}
			}
			return c.editYAML(storagePoolHelp(), pool, func(data []byte) error {
				var next api.StoragePool
				if err := fromYAML(data, &next); err != nil {
					return err
				}
				return server.UpdateStoragePool(name, next.StoragePoolPut, etag)
			})
		}),
	}
}

func storagePoolHelp() string {
	return yamlHelp(T(`The storage pool as YAML. Lines that begin with # are left out. What can be changed is config and description.

For example:
config:
  volume.size: 10GiB
description: the fast disks`))
}

func (c *App) storageGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("get", poolArgument, "<key>"),
		Short: T("Print the value of a pool's key"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		server, name, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		pool, _, err := server.StoragePool(name)
		if err != nil {
			return err
		}
		if value, ok := pool.Config[args[1]]; ok {
			fmt.Fprintln(c.Out, value)
		}
		return nil
	})
	return cmd
}

func (c *App) storageSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("set", poolArgument, "<key>=<value>..."),
		Short: T("Give keys of a pool new values"),
		Long: T(`One key and its value may also be two arguments:
    berth storage set [<remote>:]<pool> <key> <value>`),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, -1, func(args []string) error {
		return c.setPoolKeys(args[0], *target, args[1:]...)
	})
	return cmd
}

func (c *App) storageUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("unset", poolArgument, "<key>"),
		Short: T("Take a key of a pool away, so that its default counts again"),
	}
	target := targetFlag(cmd)
	cmd.RunE = takes(2, 2, func(args []string) error {
		return c.setPoolKeys(args[0], *target, args[1]+"=")
	})
	return cmd
}

// setPoolKeys changes keys of a pool's configuration.
func (c *App) setPoolKeys(raw, target string, args ...string) error {
	server, name, err := c.pool(raw, target)
	if err != nil {
		return err
	}
	keys, err := c.keyValues(args...)
	if err != nil {
		return err
	}
	pool, etag, err := server.StoragePool(name)
	if err != nil {
		return err
	}
	if pool.Config == nil {
		pool.Config = map[string]string{}
	}
	for key, value := range keys {
		pool.Config[key] = value
	}
	return server.UpdateStoragePool(name, pool.StoragePoolPut, etag)
}

func (c *App) storageListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: usage("list", "[<remote>:]"), Aliases: []string{"ls"},
		Short: T("List the storage pools of a server"),
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			_, err := checkArgs(cmd, args, 0, 1)
			return err
		}
		server, _, err := c.parse(strings.Join(args, ""))
		if err != nil {
			return err
		}
		pools, err := server.StoragePools()
		if err != nil {
			return err
		}
		var rows [][]string
		for _, p := range pools {
			rows = append(rows, []string{
				p.Name, p.Driver, p.Config["source"], p.Description, strconv.Itoa(len(p.UsedBy)), strings.ToUpper(p.Status),
			})
		}
		sortRows(rows)
		header := []string{T("NAME"), T("DRIVER"), T("SOURCE"), T("DESCRIPTION"), T("USED BY"), T("STATE")}
		return c.printTable(*format, header, rows, pools)
	}
	return cmd
}

func (c *App) storageShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("show", poolArgument),
		Short: T("Print a storage pool as YAML"),
	}
	resources := cmd.Flags().Bool("resources", false, T("Print its space and inodes instead"))
	target := targetFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		if *resources {
			res, err := server.StoragePoolResources(name)
			if err != nil {
				return err
			}
			return c.printYAML(res)
		}
		pool, _, err := server.StoragePool(name)
		if err != nil {
			return err
		}
		sort.Strings(pool.UsedBy)
		return c.printYAML(pool)
	})
	return cmd
}

func (c *App) storageInfoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("info", poolArgument),
		Short: T("Tell how full a storage pool is, and who uses it"),
	}
	bytes := cmd.Flags().Bool("bytes", false, T("Print space in bytes"))
	target := targetFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.pool(args[0], *target)
		if err != nil {
			return err
		}
		pool, _, err := server.StoragePool(name)
		if err != nil {
			return err
		}
		res, err := server.StoragePoolResources(name)
		if err != nil {
			return err
		}
		size := func(n uint64) string {
			if *bytes {
				return strconv.FormatUint(n, 10)
			}
			return byteSizeIEC(int64(n), 2)
		}
		return errors.Join(
			c.printYAML(map[string]map[string]string{T("info"): {
				T("name"): pool.Name, T("driver"): pool.Driver, T("description"): pool.Description,
				T("space used"): size(res.Space.Used), T("total space"): size(res.Space.Total),
			}}),
			c.printYAML(map[string]map[string][]string{T("used by"): usersByKind(pool.UsedBy)}))
	})
	return cmd
}

// usersByKind sorts the URLs of what uses a pool: instances, profiles, volumes, images.
func usersByKind(urls []string) map[string][]string {
	kinds := map[string][]string{}
	for _, raw := range urls {
		u, err := url.Parse(raw)
		if err != nil {
			continue
		}
		parts := strings.Split(strings.TrimPrefix(u.Path, "/1.0/"), "/")
		switch {
		case len(parts) >= 2 && parts[0] != "storage-pools":
			name := parts[1]
			if project := u.Query().Get("project"); project != "" {
				name += fmt.Sprintf(" (%s)", fmt.Sprintf(T("project %q"), project))
			}
			kinds[parts[0]] = append(kinds[parts[0]], name)
		case len(parts) >= 5:
			kinds["volumes"] = append(kinds["volumes"], parts[4])
		}
	}
	return kinds
}

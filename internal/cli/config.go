package cli

import (
	"errors"
	"fmt"
	"maps"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

func (c *App) configCommand() *cobra.Command {
	return group("config", T("Configure instances and servers"),
		c.deviceCommand(instanceDevices{c}),
		c.configEditCommand(),
		c.configGetCommand(),
		c.configMetadataCommand(),
		hidden(c.profileCommand()), // "config profile" is what old scripts say
		c.configSetCommand(),
		c.configShowCommand(),
		c.configTemplateCommand(),
		c.configTrustCommand(),
		c.configUnsetCommand(),
	)
}

func hidden(cmd *cobra.Command) *cobra.Command {
	cmd.Hidden = true
	return cmd
}

func targetFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("target", "", T("Cluster member that is asked, or on which it is done")+"``")
}

// configTarget parses "[remote:][instance]" and the cluster member.
func (c *App) configTarget(raw, member string) (*client.Client, string, error) {
	server, name, err := c.parse(raw)
	if err != nil {
		return nil, "", err
	}
	if member != "" {
		if name != "" {
			return nil, "", errors.New(T("--target cannot be used with instances"))
		}
		server = server.UseTarget(member)
	}
	return server, name, nil
}

func (c *App) configGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("get", "[<remote>:][<instance>] <key>"),
		Short: T("Print the value of a key"),
	}
	expanded := cmd.Flags().BoolP("expanded", "e", false, T("Count what the profiles bring, too"))
	member := targetFlag(cmd)
	cmd.RunE = takes(1, 2, func(args []string) error {
		raw := ""
		if len(args) > 1 {
			raw = args[0]
		}
		server, name, err := c.configTarget(raw, *member)
		if err != nil {
			return err
		}
		key := args[len(args)-1]
		if name == "" {
			if *expanded {
				return errors.New(T("--expanded cannot be used with a server"))
			}
			return c.serverValue(server, key)
		}
		config, err := instanceConfig(server, name, *expanded)
		if err != nil {
			return err
		}
		fmt.Fprintln(c.Out, config[key])
		return nil
	})
	return cmd
}

func (c *App) serverValue(server *client.Client, key string) error {
	info, _, err := server.Server()
	if err != nil {
		return err
	}
	value := info.Config[key]
	if value == nil {
		value = ""
	}
	fmt.Fprintf(c.Out, "%v\n", value)
	return nil
}

func instanceConfig(server *client.Client, name string, expanded bool) (map[string]string, error) {
	if instance, snapshot, ok := splitSnapshot(name); ok {
		s, _, err := server.InstanceSnapshot(instance, snapshot)
		if err != nil {
			return nil, err
		}
		if expanded {
			return s.ExpandedConfig, nil
		}
		return s.Config, nil
	}
	i, _, err := server.Instance(name)
	if err != nil {
		return nil, err
	}
	if expanded {
		return i.ExpandedConfig, nil
	}
	return i.Config, nil
}

func (c *App) configSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("set", "[<remote>:][<instance>] <key>=<value>..."),
		Short: T("Give keys of an instance or server new values"),
		Long: T("One key and its value may also be two arguments:") + `
    berth config set [<remote>:][<instance>] <key> <value>`,
		Example: examples(
			"berth config set web limits.cpu=2 limits.memory=1GiB", T("Let the instance web use two CPUs and 1 GiB of memory."),
			"berth config set far: core.https_address=[::]:8443", T("Have the remote server far answer on port 8443 of all its addresses."),
		),
	}
	member := targetFlag(cmd)
	cmd.RunE = takes(1, -1, func(args []string) error {
		raw, pairs := c.splitSetArgs(args)
		server, name, err := c.configTarget(raw, *member)
		if err != nil {
			return err
		}
		values, err := c.keyValues(pairs...)
		if err != nil {
			return err
		}
		if name == "" {
			return setServerConfig(server, func(config map[string]any) error {
				for k, v := range values {
					config[k] = v
				}
				return nil
			})
		}
		return c.setInstanceConfig(server, name, func(config map[string]string) error {
			maps.Copy(config, values)
			return nil
		})
	})
	return cmd
}

// splitSetArgs tells "[remote:][instance] key=value…" and "[remote:][instance] key value" apart.
func (c *App) splitSetArgs(args []string) (raw string, pairs []string) {
	hasPair := func(s string) bool {
		for _, r := range s {
			if r == '=' {
				return true
			}
		}
		return false
	}
	switch {
	case hasPair(args[0]):
		return "", args
	case len(args) == 1:
		return "", args
	case len(args) == 2 && !hasPair(args[1]) && !endsWithColon(args[0]):
		return "", args // key value, for the server
	}
	return args[0], args[1:]
}

func endsWithColon(s string) bool { return len(s) > 0 && s[len(s)-1] == ':' }

func setServerConfig(server *client.Client, change func(map[string]any) error) error {
	info, etag, err := server.Server()
	if err != nil {
		return err
	}
	if info.Config == nil {
		info.Config = map[string]any{}
	}
	if err := change(info.Config); err != nil {
		return err
	}
	return server.UpdateServer(info.ServerPut, etag)
}

func (c *App) setInstanceConfig(server *client.Client, name string, change func(map[string]string) error) error {
	if _, _, isSnapshot := splitSnapshot(name); isSnapshot {
		return errors.New(T("Snapshots are read-only and can't have their configuration changed"))
	}
	i, etag, err := server.Instance(name)
	if err != nil {
		return err
	}
	if i.Config == nil {
		i.Config = map[string]string{}
	}
	if err := change(i.Config); err != nil {
		return err
	}
	return c.waitStarted(server.UpdateInstance(name, i.InstancePut, etag))
}

func (c *App) configUnsetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("unset", "[<remote>:][<instance>] <key>"),
		Short: T("Take a key away, so that its default counts again"),
	}
	member := targetFlag(cmd)
	cmd.RunE = takes(1, 2, func(args []string) error {
		raw := ""
		if len(args) > 1 {
			raw = args[0]
		}
		key := args[len(args)-1]
		server, name, err := c.configTarget(raw, *member)
		if err != nil {
			return err
		}
		if name == "" {
			return setServerConfig(server, func(config map[string]any) error {
				if _, ok := config[key]; !ok {
					return fmt.Errorf(T("Can't unset key '%s', it's not currently set"), key)
				}
				delete(config, key)
				return nil
			})
		}
		return c.setInstanceConfig(server, name, func(config map[string]string) error {
			if _, ok := config[key]; !ok {
				return fmt.Errorf(T("Can't unset key '%s', it's not currently set"), key)
			}
			delete(config, key)
			return nil
		})
	})
	return cmd
}

func (c *App) configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("show", "[<remote>:][<instance>[/<snapshot>]]"),
		Short: T("Print a whole configuration as YAML"),
	}
	expanded := cmd.Flags().BoolP("expanded", "e", false, T("Print what is in force: the profiles' keys and devices, too"))
	member := targetFlag(cmd)
	cmd.RunE = takes(0, 1, func(args []string) error {
		raw := ""
		if len(args) == 1 {
			raw = args[0]
		}
		server, name, err := c.configTarget(raw, *member)
		if err != nil {
			return err
		}
		if name == "" {
			info, _, err := server.Server()
			if err != nil {
				return err
			}
			return c.printYAML(info.ServerPut)
		}
		if instance, snapshot, ok := splitSnapshot(name); ok {
			s, _, err := server.InstanceSnapshot(instance, snapshot)
			if err != nil {
				return err
			}
			if *expanded {
				s.Config, s.Devices = s.ExpandedConfig, s.ExpandedDevices
			}
			return c.printYAML(s)
		}
		i, _, err := server.Instance(name)
		if err != nil {
			return err
		}
		if *expanded {
			i.Config, i.Devices = i.ExpandedConfig, i.ExpandedDevices
		}
		return c.printYAML(i.InstancePut)
	})
	return cmd
}

// keyed are entities with a flat configuration: get, set and unset on them are alike.
type keyed struct {
	c *App
	// load fetches the configuration and a function that saves it.
	load func(server *client.Client, name string) (config map[string]string, save func(map[string]string) error, err error)
}

func (k keyed) get(raw, key string) error {
	server, name, err := k.c.parse(raw)
	if err != nil {
		return err
	}
	config, _, err := k.load(server, name)
	if err != nil {
		return err
	}
	fmt.Fprintln(k.c.Out, config[key])
	return nil
}

func (k keyed) change(raw string, fn func(map[string]string)) error {
	server, name, err := k.c.parse(raw)
	if err != nil {
		return err
	}
	config, save, err := k.load(server, name)
	if err != nil {
		return err
	}
	if config == nil {
		config = map[string]string{}
	}
	fn(config)
	return save(config)
}

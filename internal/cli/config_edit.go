package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) configEditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("edit", T("[<remote>:][<instance>[/<snapshot>]]")),
		Short: T("Edit instance or server configurations as YAML"),
		Example: `  berth config edit <instance> < instance.yaml
      ` + T("Update the instance configuration from instance.yaml."),
	}
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
			return c.editServer(server)
		}
		if instance, snapshot, ok := splitSnapshot(name); ok {
			return c.editSnapshot(server, instance, snapshot)
		}
		return c.editInstance(server, name)
	})
	return cmd
}

func (c *App) editServer(server *client.Client) error {
	info, etag, err := server.Server()
	if err != nil {
		return err
	}
	if info.Auth != "trusted" {
		return errors.New(T("The client isn't trusted by this server"))
	}
	if !isTerminal(c.In) {
		etag = "" // whoever wrote the file has not seen this version
	}
	help := yamlHelp(T(`This is a YAML representation of the configuration.
Any line starting with a '# will be ignored.

A sample configuration looks like:
config:
  core.trust_password: 123456
  core.https_address: '[::]:8443'`))
	return c.editYAML(help, info.ServerPut, func(data []byte) error {
		var put api.ServerPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return server.UpdateServer(put, etag)
	})
}

func (c *App) editInstance(server *client.Client, name string) error {
	i, etag, err := server.Instance(name)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`This is a YAML representation of the configuration.
Any line starting with a '# will be ignored.

A sample configuration looks like:
name: instance1
profiles:
- default
config:
  volatile.eth0.hwaddr: 00:16:3e:e9:f8:7f
devices:
  homedir:
    path: /extra
    source: /home/user
    type: disk
ephemeral: false

Note that the name is shown but cannot be changed`))
	i.ExpandedConfig, i.ExpandedDevices = nil, nil
	return c.editYAML(help, i, func(data []byte) error {
		var put api.InstancePut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return c.waitStarted(server.UpdateInstance(name, put, etag))
	})
}

func (c *App) editSnapshot(server *client.Client, instance, snapshot string) error {
	s, etag, err := server.InstanceSnapshot(instance, snapshot)
	if err != nil {
		return err
	}
	if !isTerminal(c.In) {
		etag = ""
	}
	help := yamlHelp(T(`This is a YAML representation of the configuration.
Any line starting with a '# will be ignored.

The name is shown, only the expiry can be changed:
expires_at: 2021-03-23T17:38:37.753398689-04:00`))
	s.ExpandedConfig, s.ExpandedDevices = nil, nil
	return c.editYAML(help, s, func(data []byte) error {
		var put api.InstanceSnapshotPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return c.waitStarted(server.UpdateInstanceSnapshot(instance, snapshot, put, etag))
	})
}

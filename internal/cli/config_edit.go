package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

func (c *App) configEditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("edit", "[<remote>:][<instance>[/<snapshot>]]"),
		Short: T("Change a whole configuration in an editor"),
		Example: examples(
			"berth config edit web", T("Open what web is configured with in $EDITOR, and take over what is saved."),
			"berth config edit web < web.yaml", T("Take it from a file, without an editor."),
		),
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
	help := yamlHelp(T(`The server's configuration as YAML. Lines that begin with # are left out.

For example:
config:
  core.https_address: '[::]:8443'
  images.auto_update_interval: "24"`))
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
	help := yamlHelp(T(`The instance as YAML. Lines that begin with # are left out; so is a change of the name.

For example:
profiles:
- default
config:
  limits.memory: 1GiB
devices:
  music:
    type: disk
    source: /srv/music
    path: /mnt/music`))
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
	help := yamlHelp(T(`The snapshot as YAML. Lines that begin with # are left out.

Only the date after which it is deleted can be changed:
expires_at: 2030-01-31T12:00:00Z`))
	s.ExpandedConfig, s.ExpandedDevices = nil, nil
	return c.editYAML(help, s, func(data []byte) error {
		var put api.InstanceSnapshotPut
		if err := fromYAML(data, &put); err != nil {
			return err
		}
		return c.waitStarted(server.UpdateInstanceSnapshot(instance, snapshot, put, etag))
	})
}

package cli

import (
	"bytes"
	"io"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
)

func (c *App) configMetadataCommand() *cobra.Command {
	edit := &cobra.Command{
		Use:   usage("edit", "[<remote>:]<instance>"),
		Short: T("Change metadata.yaml of an instance in an editor"),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.parse(args[0])
			if err != nil {
				return err
			}
			metadata, etag, err := server.InstanceMetadata(name)
			if err != nil {
				return err
			}
			if !isTerminal(c.In) {
				etag = ""
			}
			help := yamlHelp(T(`metadata.yaml of the instance. Lines that begin with # are left out.`))
			return c.editYAML(help, metadata, func(data []byte) error {
				var put api.ImageMetadata
				if err := fromYAML(data, &put); err != nil {
					return err
				}
				return server.UpdateInstanceMetadata(name, put, etag)
			})
		}),
	}
	show := &cobra.Command{
		Use:   usage("show", "[<remote>:]<instance>"),
		Short: T("Print metadata.yaml of an instance"),
		RunE: takes(1, 1, func(args []string) error {
			server, name, err := c.parse(args[0])
			if err != nil {
				return err
			}
			metadata, _, err := server.InstanceMetadata(name)
			if err != nil {
				return err
			}
			return c.printYAML(metadata)
		}),
	}
	return group("metadata", T("Look at and change an instance's metadata.yaml"), edit, show)
}

func (c *App) configTemplateCommand() *cobra.Command {
	verb := func(name, short string, run func(instance, template string, s templateServer) error) *cobra.Command {
		return &cobra.Command{
			Use:   usage(name, "[<remote>:]<instance> <template>"),
			Short: short,
			RunE: takes(2, 2, func(args []string) error {
				server, instance, err := c.parse(args[0])
				if err != nil {
					return err
				}
				return run(instance, args[1], server)
			}),
		}
	}
	create := verb("create", T("Add an empty template to an instance"), func(i, t string, s templateServer) error {
		return s.SetInstanceTemplate(i, t, bytes.NewReader(nil))
	})
	remove := verb("delete", T("Remove a template from an instance"), func(i, t string, s templateServer) error {
		return s.DeleteInstanceTemplate(i, t)
	})
	remove.Aliases = []string{"rm"}
	edit := verb("edit", T("Change a template in an editor"), c.editTemplate)
	show := verb("show", T("Print a template"), func(i, t string, s templateServer) error {
		r, err := s.InstanceTemplate(i, t)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(c.Out, r)
		return err
	})
	return group("template", T("Manage the templates that write files of an instance"), create, remove, edit, c.templateListCommand(), show)
}

// templateServer is the part of a client that templates need.
type templateServer interface {
	InstanceTemplate(name, template string) (io.ReadCloser, error)
	SetInstanceTemplate(name, template string, content io.Reader) error
	DeleteInstanceTemplate(name, template string) error
}

func (c *App) editTemplate(instance, template string, s templateServer) error {
	apply := func(data []byte) error { return s.SetInstanceTemplate(instance, template, bytes.NewReader(data)) }
	if !isTerminal(c.In) {
		data, err := c.readEdit()
		if err != nil {
			return err
		}
		return apply(data)
	}
	r, err := s.InstanceTemplate(instance, template)
	if err != nil {
		return err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxEdit))
	if err != nil {
		return err
	}
	return c.editText(data, ".tpl", apply)
}

func (c *App) templateListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("list", "[<remote>:]<instance>"),
		Short: T("List the templates of an instance"),
	}
	format := formatFlag(cmd)
	cmd.RunE = takes(1, 1, func(args []string) error {
		server, name, err := c.parse(args[0])
		if err != nil {
			return err
		}
		templates, err := server.InstanceTemplates(name)
		if err != nil {
			return err
		}
		rows := [][]string{}
		for _, t := range templates {
			rows = append(rows, []string{t})
		}
		return c.printTable(*format, []string{T("FILENAME")}, rows, templates)
	})
	return cmd
}

package cli

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// imageCommand is berth image.
func (c *App) imageCommand() *cobra.Command {
	cmd := group("image", T("Manage the images that instances are made from"),
		c.imageAliasCommand(),
		c.imageBuildCommand(),
		c.imageCopyCommand(),
		c.imageDeleteCommand(),
		c.imageEditCommand(),
		c.imageExportCommand(),
		c.imageGetPropertyCommand(),
		c.imageImportCommand(),
		c.imageInfoCommand(),
		c.imageListCommand(),
		c.imageRefreshCommand(),
		c.imageSetPropertyCommand(),
		c.imageShowCommand(),
		c.imageUnsetPropertyCommand(),
	)
	cmd.Long = T(`An image is what instances are made from. It can be imported from files, copied from
another server, built on this machine, or published from an instance. It is known by its
fingerprint, of which any unique start will do, and by its aliases.`)
	return cmd
}

// findImage gives the image that an alias or the start of a fingerprint names, and its ETag. vm leaves out aliases of images that are
// not for virtual machines.
func findImage(server *client.Client, name string, vm bool) (*api.Image, string, error) {
	if name == "" {
		return nil, "", errors.New(T("Image identifier missing"))
	}
	if alias, _, err := server.ImageAlias(name); err == nil {
		if !vm || alias.Type == string(api.InstanceTypeVM) {
			name = alias.Target
		}
	} else if !api.IsNotFound(err) {
		return nil, "", err
	}
	return server.Image(name)
}

// oneImage parses the argument of a command that takes one image.
func (c *App) oneImage(raw string) (*client.Client, *api.Image, string, error) {
	return c.oneImageOf(raw, false)
}

// oneImageOf is oneImage for a command with vmFlag.
func (c *App) oneImageOf(raw string, vm bool) (*client.Client, *api.Image, string, error) {
	server, name, err := c.parse(raw)
	if err != nil {
		return nil, nil, "", err
	}
	img, etag, err := findImage(server, name, vm)
	return server, img, etag, err
}

func vmFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("vm", false, T("Look for images of virtual machines"))
}

func (c *App) imageDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("delete", "[<remote>:]<image> [[<remote>:]<image>...]"),
		Aliases: []string{"rm"},
		Short:   T("Delete images from a server"),
		RunE: takes(1, -1, func(args []string) error {
			for _, raw := range args {
				server, img, _, err := c.oneImage(raw)
				if err != nil {
					return err
				}
				if err := c.waitStarted(server.DeleteImage(img.Fingerprint)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (c *App) imageRefreshCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("refresh", "[<remote>:]<image> [[<remote>:]<image>...]"),
		Short: T("Fetch the newest version of images from where they came"),
		RunE: takes(1, -1, func(args []string) error {
			for _, raw := range args {
				server, img, _, err := c.oneImage(raw)
				if err != nil {
					return err
				}
				p := c.newProgress(T("Refreshing the image: %s"))
				op, err := server.RefreshImage(img.Fingerprint)
				if err != nil {
					return err
				}
				if err := c.waitOp(op, p); err != nil {
					return err
				}
				if refreshed, _ := op.State().Metadata["refreshed"].(bool); refreshed {
					p.finish("")
					fmt.Fprintln(c.Out, T("Image refreshed successfully!"))
				} else {
					fmt.Fprintln(c.Out, T("Image already up to date."))
				}
			}
			return nil
		}),
	}
}

func (c *App) imageShowCommand() *cobra.Command {
	var vm *bool
	cmd := &cobra.Command{
		Use:   usage("show", "[<remote>:]<image>"),
		Short: T("Print what can be changed of an image as YAML"),
		RunE: takes(1, 1, func(args []string) error {
			_, img, _, err := c.oneImageOf(args[0], *vm)
			if err != nil {
				return err
			}
			return c.printYAML(img.ImagePut)
		}),
	}
	vm = vmFlag(cmd)
	return cmd
}

const imageEditHelp = `What can be changed of the image, as YAML. Lines that begin with ### are left out.

A property is one line of the map "properties":
  properties:
    description: Debian with our tools`

func (c *App) imageEditCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("edit", "[<remote>:]<image>"),
		Short: T("Change the properties of an image in an editor"),
		Example: examples(
			"berth image edit debian", T("Open the properties in $EDITOR, and take over what is saved."),
			"berth image edit debian < debian.yaml", T("Take them from a file, without an editor."),
		),
		RunE: takes(1, 1, func(args []string) error {
			server, img, etag, err := c.oneImage(args[0])
			if err != nil {
				return err
			}
			if !isTerminal(c.In) {
				etag = "" // what comes from a file was not made from this version
			}
			return c.editYAML(yamlHelp(T(imageEditHelp)), img.ImagePut, func(data []byte) error {
				var put api.ImagePut
				if err := fromYAML(data, &put); err != nil {
					return err
				}
				return server.UpdateImage(img.Fingerprint, put, etag)
			})
		}),
	}
}

func (c *App) imageGetPropertyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("get-property", "[<remote>:]<image> <key>"),
		Short: T("Print a property of an image"),
		RunE: takes(2, 2, func(args []string) error {
			_, img, _, err := c.oneImage(args[0])
			if err != nil {
				return err
			}
			value, ok := img.Properties[args[1]]
			if !ok {
				return errors.New(T("Property not found"))
			}
			fmt.Fprintln(c.Out, value)
			return nil
		}),
	}
}

func (c *App) imageSetPropertyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("set-property", "[<remote>:]<image> <key> <value>"),
		Short: T("Give a property of an image a new value"),
		RunE: takes(3, 3, func(args []string) error {
			server, img, etag, err := c.oneImage(args[0])
			if err != nil {
				return err
			}
			put := img.ImagePut
			if put.Properties == nil {
				put.Properties = map[string]string{}
			}
			put.Properties[args[1]] = args[2]
			return server.UpdateImage(img.Fingerprint, put, etag)
		}),
	}
}

func (c *App) imageUnsetPropertyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("unset-property", "[<remote>:]<image> <key>"),
		Short: T("Take a property of an image away"),
		RunE: takes(2, 2, func(args []string) error {
			server, img, etag, err := c.oneImage(args[0])
			if err != nil {
				return err
			}
			if _, ok := img.Properties[args[1]]; !ok {
				return errors.New(T("Property not found"))
			}
			put := img.ImagePut
			delete(put.Properties, args[1])
			return server.UpdateImage(img.Fingerprint, put, etag)
		}),
	}
}

func (c *App) imageInfoCommand() *cobra.Command {
	var vm *bool
	cmd := &cobra.Command{
		Use:   usage("info", "[<remote>:]<image>"),
		Short: T("Tell what is known of an image: size, dates, properties, aliases, source"),
		RunE: takes(1, 1, func(args []string) error {
			_, img, _, err := c.oneImageOf(args[0], *vm)
			if err != nil {
				return err
			}
			c.printImageInfo(img)
			return nil
		}),
	}
	vm = vmFlag(cmd)
	return cmd
}

func (c *App) printImageInfo(img *api.Image) {
	yesNo := func(b bool) string {
		if b {
			return T("yes")
		}
		return T("no")
	}
	kind := img.Type
	if kind == "" {
		kind = "container"
	}
	w := printableWriter{c.Out} // properties and aliases are their maker's words
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	p(T("Fingerprint: %s"), img.Fingerprint)
	p(T("Size: %.2fMB"), float64(img.Size)/1024.0/1024.0)
	p(T("Architecture: %s"), img.Architecture)
	p(T("Type: %s"), kind)
	p(T("Public: %s"), yesNo(img.Public))
	p(T("Timestamps:"))
	if shownTime(img.CreatedAt) {
		p("    "+T("Created: %s"), img.CreatedAt.UTC().Format(layoutShort))
	}
	p("    "+T("Uploaded: %s"), img.UploadedAt.UTC().Format(layoutShort))
	if shownTime(img.ExpiresAt) {
		p("    "+T("Expires: %s"), img.ExpiresAt.UTC().Format(layoutShort))
	} else {
		p("    " + T("Expires: never"))
	}
	if shownTime(img.LastUsedAt) {
		p("    "+T("Last used: %s"), img.LastUsedAt.UTC().Format(layoutShort))
	} else {
		p("    " + T("Last used: never"))
	}
	p(T("Properties:"))
	keys := make([]string, 0, len(img.Properties))
	for key := range img.Properties {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for _, key := range keys {
		p("    %s: %s", key, img.Properties[key])
	}
	p(T("Aliases:"))
	for _, alias := range img.Aliases {
		if alias.Description != "" {
			p("    - %s (%s)", alias.Name, alias.Description)
		} else {
			p("    - %s", alias.Name)
		}
	}
	p(T("Cached: %s"), yesNo(img.Cached))
	update := T("disabled")
	if img.AutoUpdate {
		update = T("enabled")
	}
	p(T("Auto update: %s"), update)
	if img.UpdateSource != nil {
		p(T("Source:"))
		p("    "+T("Server: %s"), img.UpdateSource.Server)
		p("    "+T("Protocol: %s"), img.UpdateSource.Protocol)
		p("    "+T("Alias: %s"), img.UpdateSource.Alias)
	}
	if len(img.Profiles) == 0 {
		p(T("Profiles: ") + "[]")
		return
	}
	p(T("Profiles:"))
	for _, name := range img.Profiles {
		p("    - %s", name)
	}
}

// ensureAliases gives an image new aliases; those that exist are moved to it.
func ensureAliases(server *client.Client, names []string, fingerprint string) error {
	if len(names) == 0 {
		return nil
	}
	existing, err := server.ImageAliases()
	if err != nil {
		return err
	}
	for _, alias := range existing {
		for _, name := range names {
			if alias.Name != name {
				continue
			}
			if err := server.DeleteImageAlias(name); err != nil {
				return fmt.Errorf(T("Failed to remove alias %s: %w"), name, err)
			}
		}
	}
	for _, name := range names {
		post := api.ImageAliasesPost{}
		post.Name, post.Target = name, fingerprint
		if err := server.CreateImageAlias(post); err != nil {
			return fmt.Errorf(T("Failed to create alias %s: %w"), name, err)
		}
	}
	return nil
}

func shortFingerprint(fingerprint string) string {
	if len(fingerprint) > 12 {
		return fingerprint[:12]
	}
	return fingerprint
}

// isRemoteOnly tells "remote:" from a name or a filter.
func (c *App) isRemoteOnly(raw string) bool {
	if !strings.HasSuffix(raw, ":") || strings.Contains(raw, "/") {
		return false
	}
	_, ok := c.conf.Remotes[strings.TrimSuffix(raw, ":")]
	return ok
}

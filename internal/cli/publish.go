package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

type publish struct {
	c                   *App
	aliases             []string
	public, force       bool
	compression, expire string
	to                  *client.Client // where the image goes if it is another server
}

func (c *App) publishCommand() *cobra.Command {
	p := &publish{c: c}
	cmd := c.simple("publish", "[<remote>:]<instance>[/<snapshot>] [<remote>:] [flags] [key=value...]", T("Make an image of an instance or a snapshot"), 1, -1, p.run)
	cmd.DisableFlagsInUseLine = true
	f := cmd.Flags()
	f.StringArrayVar(&p.aliases, "alias", nil, T("Alias for the image; may be repeated")+"``")
	f.BoolVar(&p.public, "public", false, T("Let everybody who reaches the server have the image"))
	f.BoolVarP(&p.force, "force", "f", false, T("Stop the instance while it is read, and start it again"))
	f.StringVar(&p.compression, "compression", "", T("Compression of the image: gzip, zstd, xz, … or `none`"))
	f.StringVar(&p.expire, "expire", "", T("When the image expires, such as 2030-01-31T12:00:00Z")+"``")
	return cmd
}

func (p *publish) run(args []string) error {
	server, name, err := p.c.parse(args[0])
	if err != nil {
		return err
	}
	fromRemote, _, _ := p.c.parseRemote(args[0])
	if name == "" {
		return errors.New(T("Instance name is mandatory"))
	}
	rest := args[1:]
	if len(rest) > 0 && !strings.Contains(rest[0], "=") {
		toRemote, imageName, err := p.c.parseRemote(rest[0])
		if err != nil {
			return err
		}
		if imageName != "" {
			return errors.New(T("There is no \"image name\".  Did you want an alias?"))
		}
		if toRemote != fromRemote {
			if p.to, _, err = p.c.parse(rest[0]); err != nil {
				return err
			}
		}
		rest = rest[1:]
	}
	var properties map[string]string // none: those of the instance go along
	if len(rest) > 0 {
		if properties, err = configFlags(rest); err != nil {
			return err
		}
	}
	post := api.ImagesPost{
		ImagePut:             api.ImagePut{Public: p.public, Properties: properties},
		Source:               &api.ImagesPostSource{Type: "instance", Name: name},
		CompressionAlgorithm: p.compression,
	}
	if p.to != nil {
		post.Public = false
	} else {
		for _, a := range p.aliases {
			post.Aliases = append(post.Aliases, api.ImageAlias{Name: a})
		}
	}
	if p.expire != "" {
		if post.ExpiresAt, err = time.Parse(time.RFC3339, p.expire); err != nil {
			return fmt.Errorf(T("Invalid expiration date: %w"), err)
		}
	}
	instance, _, isSnapshot := splitSnapshot(name)
	if isSnapshot {
		post.Source.Type = "snapshot"
		return p.publish(server, post)
	}
	restart, err := p.stop(server, instance)
	if err != nil {
		return err
	}
	defer restart()
	return p.publish(server, post)
}

// stop stops a running instance with --force, and gives a function that starts it again.
func (p *publish) stop(server *client.Client, instance string) (restart func(), err error) {
	i, etag, err := server.Instance(instance)
	if err != nil {
		return nil, err
	}
	if i.StatusCode == 0 || i.StatusCode == api.Stopped {
		return func() {}, nil
	}
	if !p.force {
		return nil, errors.New(T("The instance is currently running. Use --force to have it stopped and restarted"))
	}
	again := func() error { return nil }
	if i.Ephemeral {
		// Else the stop would delete it.
		if err := server.PatchInstance(instance, map[string]any{"ephemeral": false}, etag); err != nil {
			return nil, err
		}
		again = func() error { return server.PatchInstance(instance, map[string]any{"ephemeral": true}, "") } // whatever else has changed by then
	}
	if err := p.c.forceStop(server, instance); err != nil {
		return nil, errors.Join(fmt.Errorf(T("Stopping instance failed: %w"), err), again())
	}
	return func() {
		err := p.c.waitStarted(server.UpdateInstanceState(instance, api.InstanceStatePut{Action: "start", Timeout: -1}, ""))
		if err == nil {
			err = again()
		}
		if err != nil {
			fmt.Fprintf(p.c.Err, T("Starting %s again failed: %v")+"\n", instance, err)
		}
	}, nil
}

func (p *publish) publish(server *client.Client, post api.ImagesPost) error {
	op, err := server.CreateImage(post)
	if err != nil {
		return err
	}
	line := p.c.newProgress(T("Publishing instance: %s"))
	if err := p.c.waitOp(op, line); err != nil {
		return err
	}
	fingerprint, _ := op.State().Metadata["fingerprint"].(string)
	if p.to != nil {
		if err := p.move(server, fingerprint); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.c.Out, T("Instance published with fingerprint: %s")+"\n", fingerprint)
	return nil
}

// move takes a new image to the other server, where alone it was asked for.
func (p *publish) move(from *client.Client, fingerprint string) error {
	img, _, err := from.Image(fingerprint)
	if err != nil {
		return err
	}
	err = p.c.copyImage(from, p.to, img, p.aliases, p.public, false)
	return errors.Join(err, p.c.waitStarted(from.DeleteImage(fingerprint)))
}

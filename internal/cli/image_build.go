package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/outfile"
)

// buildArgs are the flags of berth image build.
type buildArgs struct {
	name, variant, mirror, compression string
}

func (c *App) imageBuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("build", "<distribution>[/<release>] [<remote>:]"),
		Short: T("Build an image on this machine"),
		Long: T(`Known are debian/RELEASE, made with mmdebstrap or debootstrap from the mirror that this machine's apt
uses, and busybox, made offline from this machine's static busybox. The image is imported, or with
--output written to a file. Building a Debian needs root.`),
		Example: `  berth image build debian/12 --alias debian
      Build Debian 12 and import it

  berth image build busybox --output busybox.tar
      Write a tiny image for tests to a file`,
	}
	var b buildArgs
	f := cmd.Flags()
	f.StringVar(&b.variant, "variant", "", T("Debian: minbase (default), buildd, important or standard")+"``")
	f.StringVar(&b.mirror, "mirror", "", T("Debian: URL of the mirror to use")+"``")
	f.StringVar(&b.compression, "compression", "", T("Compression algorithm (none, gzip, xz, zstd …)")+"``")
	aliases := f.StringArray("alias", nil, T("Alias for the image; may be repeated")+"``")
	output := f.StringP("output", "o", "", T("Write the image to this file and do not import it")+"``")
	cache := f.String("cache", "", T("Folder to keep the built image in, and to take it from when it is there")+"``")
	public := f.Bool("public", false, T("Let everybody who reaches the server have the image"))
	cmd.RunE = takes(1, 2, func(args []string) error {
		b.name = args[0]
		if *output != "" {
			if len(args) > 1 || len(*aliases) > 0 {
				return errors.New(T("With --output nothing is imported: a remote or an alias makes no sense"))
			}
			return c.buildTo(b, *output)
		}
		remote := ""
		if len(args) == 2 {
			if !c.isRemoteOnly(args[1]) {
				return fmt.Errorf(T("%q is not a remote"), args[1])
			}
			remote = args[1]
		}
		server, _, err := c.parse(remote)
		if err != nil {
			return err
		}
		return c.buildAndImport(server, b, *cache, *aliases, *public)
	})
	return cmd
}

func (c *App) buildAndImport(server *client.Client, b buildArgs, cache string, aliases []string, public bool) error {
	dir := cache
	if dir == "" {
		temp, err := os.MkdirTemp("", "berth-image-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temp)
		dir = temp
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	path := filepath.Join(dir, strings.NewReplacer("/", "-", " ", "").Replace(strings.Join([]string{b.name, b.variant, b.compression}, "_"))+".image")
	if _, err := os.Stat(path); err != nil {
		if err := c.buildTo(b, path); err != nil {
			return err
		}
	}
	op, err := c.importFiles(server, importArgs{source: path}, public)
	if err != nil {
		return err
	}
	return c.imported(server, op, aliases)
}

// buildTo writes an image to a file that appears only when it is whole, or to what else path names.
func (c *App) buildTo(b buildArgs, path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return outfile.WriteFile(path, 0o644, func(out *outfile.File) error {
		p := c.newProgress(T("Building the image: %s"))
		say := p.update
		if p.silent() && !c.flagQuiet {
			say = func(line string) { fmt.Fprintln(c.Err, line) } // a log has no line to redraw
		}
		err := buildImage(ctx, out.File, b, say, p.update)
		p.finish("")
		if err != nil && ctx.Err() != nil {
			return errCancelled
		}
		return err
	})
}

package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/outfile"
)

func (c *App) imageExportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("export", "[<remote>:]<image> [<target>]"),
		Short: T("Write an image to files on this machine"),
		Long:  T(`The target is a folder, or the name of the file to write; its ending is added. The default is the current folder.`),
	}
	vm := vmFlag(cmd)
	cmd.RunE = takes(1, 2, func(args []string) error {
		server, img, _, err := c.oneImageOf(args[0], *vm)
		if err != nil {
			return err
		}
		target := "."
		if len(args) == 2 {
			target = args[1]
		}
		return c.exportImage(server, img, target)
	})
	return cmd
}

// exportImage writes an image's files, which take their places when all of them are whole. On error what was there before stays.
func (c *App) exportImage(server *client.Client, img *api.Image, target string) error {
	ctx, stop := signal.NotifyContext(background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := c.newProgress(T("Exporting the image: %s"))
	received := &countingReader{size: img.Size, p: p}
	var files []*outfile.File
	defer func() {
		for _, f := range files {
			f.Discard()
		}
	}()
	err := server.WithContext(ctx).ExportImage(img.Fingerprint, "", func(file client.ImageFile) (io.Writer, error) {
		f, err := outfile.Create(exportName(target, file), 0o644)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		return io.MultiWriter(f, received), nil
	})
	switch {
	case ctx.Err() != nil:
		err = errCancelled
	case err == nil && len(files) == 0:
		err = errors.New(T("The server sent no file"))
	}
	for _, f := range files {
		if err == nil {
			err = f.Commit()
		}
	}
	if err != nil {
		p.finish("")
		return err
	}
	p.finish(T("Image exported successfully!"))
	return nil
}

// exportName is where a file goes. Of the server's name only the last element is used, and not as a hidden file: in their home users have such
// that are run.
func exportName(target string, file client.ImageFile) string {
	name := strings.TrimLeft(filepath.Base(filepath.Clean("/"+file.Name)), ".")
	if info, err := os.Stat(target); err == nil && info.IsDir() || strings.HasSuffix(target, "/") {
		return filepath.Join(target, name)
	}
	switch file.Field {
	case "metadata":
		return target
	case "rootfs", "rootfs.img":
		return target + ".root"
	}
	if _, ending, ok := strings.Cut(name, "."); ok {
		return target + "." + ending
	}
	return target
}

func (c *App) imageCopyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     usage("copy", "[<remote>:]<image> <remote>:"),
		Aliases: []string{"cp"},
		Short:   T("Copy an image to another server"),
		Long:    T(`The image goes through this client, which both servers know.`),
	}
	f := cmd.Flags()
	public := f.Bool("public", false, T("Let everybody who reaches the target have the image"))
	copyAliases := f.Bool("copy-aliases", false, T("Give the copy the names that the image has here"))
	autoUpdate := f.Bool("auto-update", false, T("Have the target fetch newer versions by itself"))
	aliases := f.StringArray("alias", nil, T("Alias for the copy; may be repeated")+"``")
	mode := f.String("mode", "pull", T("Who connects to whom: pull, push or relay")+"``")
	project := f.String("target-project", "", T("Project of the target to put it in")+"``")
	vm := f.Bool("vm", false, T("Look for an image of virtual machines"))
	cmd.RunE = takes(2, 2, func(args []string) error {
		switch *mode {
		case "pull", "push", "relay":
		default:
			return fmt.Errorf(T("Invalid mode %q"), *mode)
		}
		remotes, err := c.parseAll(args...)
		if err != nil {
			return err
		}
		from, to := remotes[0], remotes[1]
		if to.name != "" {
			return errors.New(T("Can't provide a name for the target image"))
		}
		if from.remote == to.remote && *project == "" {
			return errors.New(T("The source and target servers must be different"))
		}
		if *project != "" {
			to.server = to.server.UseProject(*project)
		}
		img, _, err := findImage(from.server, from.name, *vm)
		if err != nil {
			return err
		}
		names := *aliases
		if *copyAliases {
			for _, a := range img.Aliases {
				names = append(names, a.Name)
			}
		}
		return c.copyImage(from.server, to.server, img, names, *public, *autoUpdate)
	})
	return cmd
}

// copyImage streams an image from one server to another, through a pipe for each of its files.
func (c *App) copyImage(from, to *client.Client, img *api.Image, aliases []string, public, autoUpdate bool) error {
	type part struct {
		file client.ImageFile
		r    *io.PipeReader
	}
	parts := make(chan part)
	done := make(chan struct{})
	var exportErr error
	go func() {
		defer close(parts)
		var open *io.PipeWriter
		exportErr = from.ExportImage(img.Fingerprint, "", func(file client.ImageFile) (io.Writer, error) {
			if open != nil {
				open.Close()
			}
			r, w := io.Pipe()
			open = w
			select {
			case parts <- part{file, r}:
				return w, nil
			case <-done:
				return nil, io.ErrClosedPipe
			}
		})
		if open != nil {
			open.CloseWithError(exportErr)
		}
	}()
	first, ok := <-parts
	if !ok {
		close(done)
		return exportErr
	}
	up := client.ImageUpload{Meta: first.r, MetaName: img.Filename, Public: public, Properties: img.Properties, Type: img.Type}
	if first.file.Field != "" {
		up.MetaName, up.RootfsName = first.file.Name, img.Filename
		up.Rootfs = &lateReader{next: func() io.Reader {
			if second, ok := <-parts; ok {
				return second.r
			}
			return nil
		}}
	}
	op, err := c.upload(to, up, img.Size)
	close(done)
	if late, ok := up.Rootfs.(*lateReader); ok && late.r != nil {
		late.r.(*io.PipeReader).CloseWithError(io.ErrClosedPipe)
	}
	first.r.CloseWithError(io.ErrClosedPipe)
	for rest := range parts { // until the export has ended, too
		rest.r.CloseWithError(io.ErrClosedPipe)
	}
	if err != nil {
		if exportErr != nil && !errors.Is(exportErr, io.ErrClosedPipe) {
			return exportErr
		}
		return err
	}
	if err := c.waitOp(op, c.newProgress(T("Copying the image: %s"))); err != nil {
		return err
	}
	if autoUpdate || shownTime(img.ExpiresAt) {
		now, etag, err := to.Image(img.Fingerprint)
		if err != nil {
			return err
		}
		put := now.ImagePut
		put.AutoUpdate, put.ExpiresAt = autoUpdate, img.ExpiresAt
		if err := to.UpdateImage(img.Fingerprint, put, etag); err != nil {
			return err
		}
	}
	if err := ensureAliases(to, aliases, img.Fingerprint); err != nil {
		return err
	}
	if !c.flagQuiet {
		fmt.Fprintln(c.Out, T("Image copied successfully!"))
	}
	return nil
}

// lateReader reads what comes only after something else was read to its end.
type lateReader struct {
	next func() io.Reader
	r    io.Reader
}

func (l *lateReader) Read(p []byte) (int, error) {
	if l.r == nil {
		if l.r = l.next(); l.r == nil {
			return 0, io.ErrUnexpectedEOF
		}
	}
	return l.r.Read(p)
}

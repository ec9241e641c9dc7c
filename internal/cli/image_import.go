package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// importArgs is what the arguments of berth image import say.
type importArgs struct {
	source, rootfs string
	remote         string
	properties     map[string]string
}

func (c *App) parseImportArgs(args []string) (importArgs, error) {
	in := importArgs{properties: map[string]string{}}
	remote, _, err := c.parseRemote("")
	if err != nil {
		return in, err
	}
	in.remote = remote
	for _, arg := range args {
		key, value, isProperty := strings.Cut(arg, "=")
		switch {
		case c.isRemoteOnly(arg):
			in.remote = strings.TrimSuffix(arg, ":")
		case in.source == "":
			in.source = arg
		case isProperty:
			in.properties[key] = value
		case in.rootfs == "":
			in.rootfs = arg
		default:
			return in, fmt.Errorf(T("Bad key=value pair: %s"), arg)
		}
	}
	if in.source == "" {
		return in, errArguments
	}
	return in, nil
}

func (c *App) imageImportCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   usage("import", "<tarball>|<directory>|<URL> [<rootfs tarball>] [<remote>:] [key=value...]"),
		Short: T("Make files or a URL an image of a server"),
		Long:  T(`A folder with metadata.yaml and rootfs/ is packed first, which only Linux can do, as root.`),
	}
	public := cmd.Flags().Bool("public", false, T("Let everybody who reaches the server have the image"))
	aliases := cmd.Flags().StringArray("alias", nil, T("Alias for the image; may be repeated")+"``")
	cmd.RunE = takes(1, -1, func(args []string) error {
		in, err := c.parseImportArgs(args)
		if err != nil {
			return err
		}
		server, err := c.server(in.remote)
		if err != nil {
			return err
		}
		var op *client.Operation
		if strings.HasPrefix(in.source, "https://") || strings.HasPrefix(in.source, "http://") {
			op, err = c.importURL(server, in, *public)
		} else {
			op, err = c.importFiles(server, in, *public)
		}
		if err != nil {
			return err
		}
		return c.imported(server, op, *aliases)
	})
	return cmd
}

// imported waits for an upload and names what came of it.
func (c *App) imported(server *client.Client, op *client.Operation, aliases []string) error {
	if err := c.waitOp(op, c.newProgress(T("Importing the image: %s"))); err != nil {
		return err
	}
	fingerprint, _ := op.State().Metadata["fingerprint"].(string)
	if err := ensureAliases(server, aliases, fingerprint); err != nil {
		return err
	}
	fmt.Fprintf(c.Out, T("Image imported with fingerprint: %s")+"\n", fingerprint)
	return nil
}

func (c *App) importURL(server *client.Client, in importArgs, public bool) (*client.Operation, error) {
	if strings.HasPrefix(in.source, "http://") {
		return nil, errors.New(T("Only https:// is supported for remote image import"))
	}
	post := api.ImagesPost{Source: &api.ImagesPostSource{Type: "url", Mode: "pull", URL: in.source}}
	post.Source.Protocol = "direct"
	post.Public, post.Properties = public, in.properties
	return server.CreateImage(post)
}

func (c *App) importFiles(server *client.Client, in importArgs, public bool) (*client.Operation, error) {
	up := client.ImageUpload{Public: public, Properties: in.properties}
	info, err := os.Stat(in.source)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", in.source, errors.Unwrap(err))
	}
	if info.IsDir() {
		if in.rootfs != "" {
			return nil, errors.New(T("A folder is a whole image: a second file makes no sense"))
		}
		packed, err := packImageFolder(background(), in.source)
		if err != nil {
			return nil, err
		}
		defer os.Remove(packed)
		in.source = packed
	}
	meta, size, err := openSized(in.source)
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	up.Meta, up.MetaName = meta, filepath.Base(in.source)
	if in.rootfs != "" {
		rootfs, rootfsSize, err := openSized(in.rootfs)
		if err != nil {
			return nil, err
		}
		defer rootfs.Close()
		size += rootfsSize
		up.Rootfs, up.RootfsName = rootfs, filepath.Base(in.rootfs)
		if up.Type, err = diskOrTree(rootfs); err != nil {
			return nil, err
		}
	}
	return c.upload(server, up, size)
}

// upload sends an image with a progress line.
func (c *App) upload(server *client.Client, up client.ImageUpload, size int64) (*client.Operation, error) {
	p := c.newProgress(T("Transferring image: %s"))
	defer p.finish("")
	sent := &countingReader{size: size, p: p}
	up.Meta = sent.over(up.Meta)
	if up.Rootfs != nil {
		up.Rootfs = sent.over(up.Rootfs)
	}
	return server.UploadImage(up)
}

// diskOrTree tells a virtual machine's disk from a container's root file system by how it begins.
func diskOrTree(f *os.File) (string, error) {
	head := make([]byte, 4)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if bytes.Equal(head[:n], []byte("QFI\xfb")) {
		return string(api.InstanceTypeVM), nil
	}
	return "", nil
}

func openSized(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// countingReader shows how much of several readers' content has passed.
type countingReader struct {
	n, size int64
	p       *progress
}

type countedPart struct {
	io.Reader
	sum *countingReader
}

func (c *countingReader) over(r io.Reader) io.Reader { return countedPart{r, c} }

func (c countedPart) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.sum.add(n)
	return n, err
}

func (c *countingReader) add(n int) {
	c.n += int64(n)
	c.p.transferred(c.n, c.size)
}

// Write makes it a writer too, for downloads.
func (c *countingReader) Write(b []byte) (int, error) {
	c.add(len(b))
	return len(b), nil
}

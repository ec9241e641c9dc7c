package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

func (c *App) fileCommand() *cobra.Command {
	return group("file", T("Copy, edit and mount the files of an instance"), c.fileDeleteCommand(), c.fileEditCommand(), c.fileMountCommand(), c.filePullCommand(), c.filePushCommand())
}

// instancePath is a file inside an instance.
type instancePath struct {
	server   *client.Client
	instance string
	path     string // absolute
	isDir    bool   // was written with a slash at the end
}

// parsePath takes "remote:instance/path" apart.
func (c *App) parsePath(raw string) (*instancePath, error) {
	server, name, err := c.parse(raw)
	if err != nil {
		return nil, err
	}
	instance, file, found := strings.Cut(name, "/")
	if !found || instance == "" {
		return nil, fmt.Errorf(T("Invalid path %s"), raw)
	}
	return &instancePath{server: server, instance: instance, path: path.Clean("/" + file), isDir: strings.HasSuffix(name, "/") || file == "." || strings.HasSuffix(file, "/.")}, nil
}

func (c *App) fileDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:     usage("delete", "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...]"),
		Aliases: []string{"rm"},
		Short:   T("Delete files of an instance"),
		RunE: takes(1, -1, func(args []string) error {
			for _, arg := range args {
				p, err := c.parsePath(arg)
				if err != nil {
					return err
				}
				if err := p.server.DeleteInstanceFile(p.instance, p.path); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (c *App) fileEditCommand() *cobra.Command {
	return &cobra.Command{
		Use:   usage("edit", "[<remote>:]<instance>/<path>"),
		Short: T("Change a file of an instance in an editor"),
		RunE: takes(1, 1, func(args []string) error {
			p, err := c.parsePath(args[0])
			if err != nil {
				return err
			}
			put := func(data []byte) error {
				return p.server.PutInstanceFile(p.instance, p.path, client.FileUpload{Content: strings.NewReader(string(data)), UID: -1, GID: -1, Mode: -1})
			}
			if !isTerminal(c.In) {
				data, err := c.readEdit()
				if err != nil {
					return err
				}
				return put(data)
			}
			content, info, err := p.server.InstanceFile(p.instance, p.path)
			if err != nil {
				return err
			}
			if info.Type != client.FileRegular {
				return fmt.Errorf(T("%s is not a regular file"), p.path)
			}
			defer content.Close()
			data, err := io.ReadAll(content)
			if err != nil {
				return err
			}
			edited, err := c.runEditor(data, path.Ext(p.path))
			if err != nil {
				return err
			}
			return put(edited)
		}),
	}
}

// counted shows how far the reading of a file has come.
type counted struct {
	r       io.Reader
	p       *progress
	n, size int64
}

func (t *counted) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.n += int64(n)
	t.p.transferred(t.n, t.size)
	return n, err
}

// missingTarget is for a target path that is no directory.
func missingTarget(target string) error {
	return fmt.Errorf(T("Target path %q must be a directory when more than one file is given"), target)
}

// openLocal opens a local file to push; "-" is standard input.
func (c *App) openLocal(name string) (io.ReadCloser, os.FileInfo, error) {
	if name == "-" {
		return io.NopCloser(c.In), nil, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	if info.IsDir() {
		f.Close()
		return nil, nil, errors.New(T("The --recursive flag is needed to push a directory"))
	}
	return f, info, nil
}

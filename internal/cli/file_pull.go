package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
)

type pullCmd struct {
	c               *App
	recursive, dirs bool
}

func (c *App) filePullCommand() *cobra.Command {
	p := &pullCmd{c: c}
	cmd := &cobra.Command{
		Use:   usage("pull", T("[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...] <target path>")),
		Short: T("Pull files from instances"),
		Example: `  berth file pull foo/etc/hosts .
     ` + T("To pull /etc/hosts from the instance and write it to the current directory."),
		RunE: p.run,
	}
	cmd.Flags().BoolVarP(&p.dirs, "create-dirs", "p", false, T("Create any directories necessary"))
	cmd.Flags().BoolVarP(&p.recursive, "recursive", "r", false, T("Recursively transfer files"))
	return cmd
}

func (p *pullCmd) run(cmd *cobra.Command, args []string) error {
	if done, err := checkArgs(cmd, args, 2, -1); done {
		return err
	}
	raw := args[len(args)-1]
	target := filepath.Clean(raw)
	sources := args[:len(args)-1]
	info, err := os.Stat(target)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	isDir := err == nil && info.IsDir()
	if err == nil && !isDir && len(sources) > 1 {
		return errors.New(T("More than one file to download, but target is not a directory"))
	}
	if err != nil && (strings.HasSuffix(raw, string(os.PathSeparator)) || len(sources) > 1 || (p.recursive && raw != "-")) {
		if !p.dirs && !p.recursive {
			return err
		}
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		isDir = true
	} else if err != nil && p.dirs {
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
	}
	for _, source := range sources {
		from, err := p.c.parsePath(source)
		if err != nil {
			return err
		}
		if err := p.one(from, raw, target, isDir); err != nil {
			return err
		}
	}
	return nil
}

// one pulls a file or, recursively, a directory.
func (p *pullCmd) one(from *instancePath, raw, target string, isDir bool) error {
	content, info, err := from.server.InstanceFile(from.instance, from.path)
	if err != nil {
		return err
	}
	if content != nil {
		defer content.Close()
	}
	if info.Type == client.FileDirectory {
		if !p.recursive {
			return errors.New(T("Can't pull a directory without --recursive"))
		}
		return p.tree(from, info, target)
	}
	if raw == "-" {
		_, err := io.Copy(p.c.Out, content)
		return err
	}
	if isDir {
		target = filepath.Join(target, path.Base(from.path))
	}
	if info.Type == client.FileSymlink {
		return p.link(content, target)
	}
	return p.write(from.path, content, info, target, func() (*os.File, error) { return os.Create(target) })
}

func (p *pullCmd) link(content io.Reader, target string) error {
	link, err := linkTarget(content)
	if err != nil {
		return err
	}
	return os.Symlink(link, target)
}

func linkTarget(content io.Reader) (string, error) {
	link, err := io.ReadAll(io.LimitReader(content, 4096))
	return strings.TrimSpace(string(link)), err
}

func (p *pullCmd) write(source string, content io.Reader, info *client.FileInfo, target string, create func() (*os.File, error)) error {
	f, err := create()
	if err != nil {
		return err
	}
	line := p.c.newProgress(strings.ReplaceAll(fmt.Sprintf(T("Pulling %s from %s"), target, source), "%", "%%") + ": %s")
	_, err = io.Copy(f, &counted{r: content, p: line, size: -1, start: time.Now()})
	line.finish("")
	// What is pulled into /dev/null or a FIFO leaves the mode of that alone.
	if st, statErr := f.Stat(); info.Mode >= 0 && statErr == nil && st.Mode().IsRegular() {
		if chmodErr := f.Chmod(fs.FileMode(info.Mode & 0o777)); err == nil {
			err = chmodErr
		}
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// tree pulls a directory below target. Everything is made beneath a handle on it: an instance that changes a directory
// into a link meanwhile leads nowhere.
func (p *pullCmd) tree(from *instancePath, info *client.FileInfo, target string) error {
	root, err := os.OpenRoot(target)
	if err != nil {
		return err
	}
	defer root.Close()
	return p.dir(from, info, root, path.Base(from.path))
}

func (p *pullCmd) dir(from *instancePath, info *client.FileInfo, root *os.Root, rel string) error {
	if rel != "/" && rel != "." {
		if err := root.Mkdir(filepath.FromSlash(rel), fs.FileMode(info.Mode&0o777)|0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	} else {
		rel = "."
	}
	for _, name := range info.Entries {
		child := &instancePath{server: from.server, instance: from.instance, path: path.Join(from.path, name)}
		if err := p.child(child, root, path.Join(rel, name)); err != nil {
			return err
		}
	}
	return nil
}

func (p *pullCmd) child(from *instancePath, root *os.Root, rel string) error {
	content, info, err := from.server.InstanceFile(from.instance, from.path)
	if err != nil {
		return err
	}
	if info.Type == client.FileDirectory {
		return p.dir(from, info, root, rel)
	}
	defer content.Close()
	name := filepath.FromSlash(rel)
	if info.Type == client.FileSymlink {
		link, err := linkTarget(content)
		if err != nil {
			return err
		}
		return root.Symlink(link, name)
	}
	return p.write(from.path, content, info, name, func() (*os.File, error) { return root.Create(name) })
}

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

	"github.com/spf13/cobra"

	"github.com/berthd/berth/client"
	"github.com/berthd/berth/internal/outfile"
)

type pullCmd struct {
	c               *App
	recursive, dirs bool
	left            int // how much of a tree could not be pulled
}

func (c *App) filePullCommand() *cobra.Command {
	p := &pullCmd{c: c}
	cmd := &cobra.Command{
		Use:   usage("pull", "[<remote>:]<instance>/<path> [[<remote>:]<instance>/<path>...] <target path>"),
		Short: T("Copy files out of an instance"),
		Example: examples(
			"berth file pull web/var/log/syslog .", T("Copy the log into the current folder."),
			"berth file pull web/etc/os-release -", T("Print the file."),
		),
		RunE: p.run,
	}
	cmd.Flags().BoolVarP(&p.dirs, "create-dirs", "p", false, T("Make the local folders that are missing"))
	cmd.Flags().BoolVarP(&p.recursive, "recursive", "r", false, T("Copy folders with all that is in them"))
	return cmd
}

func (p *pullCmd) run(cmd *cobra.Command, args []string) error {
	if done, err := checkArgs(cmd, args, 2, -1); done {
		return err
	}
	sources, raw := args[:len(args)-1], args[len(args)-1]
	var from []*instancePath
	for _, source := range sources {
		f, err := p.c.parsePath(source)
		if err != nil {
			return err
		}
		from = append(from, f)
	}
	if raw == "-" {
		for _, f := range from {
			if err := p.print(f); err != nil {
				return err
			}
		}
		return nil
	}
	target := filepath.Clean(raw)
	isDir, err := p.prepare(target, strings.HasSuffix(raw, string(os.PathSeparator)), len(sources) > 1)
	if err != nil {
		return err
	}
	for _, f := range from {
		if err := p.one(f, target, isDir); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the folders that the target needs and tells whether sources go into it rather than becoming it. As in LXD, a
// folder that is certainly meant as one is made without -p.
func (p *pullCmd) prepare(target string, slash, many bool) (isDir bool, err error) {
	info, err := os.Stat(target)
	switch {
	case err == nil && info.IsDir():
		return true, nil
	case err == nil && many:
		return false, errors.New(T("More than one file to download, but target is not a directory"))
	case err == nil && slash:
		return false, fmt.Errorf(T("%s is not a directory"), target)
	case err == nil:
		return false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	case slash || many:
		return true, os.MkdirAll(target, 0o755)
	case p.dirs:
		return false, os.MkdirAll(filepath.Dir(target), 0o755)
	}
	return false, nil
}

// one pulls a file or, recursively, a directory.
func (p *pullCmd) one(from *instancePath, target string, isDir bool) error {
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
		if err := os.MkdirAll(target, 0o755); err != nil {
			return err
		}
		return p.tree(from, info, target)
	}
	if isDir {
		target = filepath.Join(target, path.Base(from.path))
	}
	if info.Type == client.FileSymlink {
		link, err := linkTarget(content)
		if err != nil {
			return err
		}
		// A device or a pipe that the user names is not for a link to replace.
		if now, err := os.Lstat(target); err == nil && (now.Mode().IsRegular() || now.Mode()&fs.ModeSymlink != 0) {
			if err := os.Remove(target); err != nil {
				return err
			}
		}
		return os.Symlink(link, target)
	}
	if err := removeLink(target, isDir); err != nil {
		return err
	}
	// A file that is pulled only in part would be taken for the whole: what was there before stays until the new one is.
	return outfile.WriteFile(target, 0o644, func(f *outfile.File) error { return p.fill(f.File, from.path, content, info, target) })
}

// removeLink keeps a file from being written to where a link leads: that may be what the same name was in an instance when it was pulled before. One
// in a target folder gives way, as it does to a folder that is pulled; one that the user names is refused. /dev has the user's own, as stdout.
func removeLink(target string, inFolder bool) error {
	now, err := os.Lstat(target)
	if err != nil || now.Mode()&fs.ModeSymlink == 0 || strings.HasPrefix(target, "/dev/") {
		return nil // what is wrong with it is for the call that makes it to say
	}
	if inFolder {
		return os.Remove(target)
	}
	return fmt.Errorf(T("%s is a symbolic link: remove it, or name the file that it leads to"), target)
}

// maxLinks is how many links are followed to a file, as many as Linux follows.
const maxLinks = 40

// print writes the content of a file to standard output; of a link, that of the file it leads to.
func (p *pullCmd) print(from *instancePath) error {
	at := from.path
	for range maxLinks {
		content, info, err := from.server.InstanceFile(from.instance, at)
		if err != nil {
			return err
		}
		if info.Type == client.FileDirectory {
			return fmt.Errorf(T("%s is a directory: it cannot be written to standard output"), from.path)
		}
		if info.Type != client.FileSymlink {
			defer content.Close()
			_, err = io.Copy(p.c.Out, content)
			return err
		}
		link, err := linkTarget(content)
		content.Close()
		if err != nil {
			return err
		}
		if !path.IsAbs(link) {
			// Not joined by path.Join: where ".." leads is for the instance's own links to say.
			link = path.Dir(at) + "/" + link
		}
		at = link
	}
	return fmt.Errorf(T("%s: too many links"), from.path)
}

// linkTarget reads where a link leads: any bytes, spaces at its ends too.
func linkTarget(content io.Reader) (string, error) {
	link, err := io.ReadAll(io.LimitReader(content, 4096))
	return string(link), err
}

// fill writes the content of a file of an instance to f, and gives it the mode that it has there.
func (p *pullCmd) fill(f *os.File, source string, content io.Reader, info *client.FileInfo, target string) error {
	line := p.c.newProgress(strings.ReplaceAll(fmt.Sprintf(T("Pulling %s from %s"), target, source), "%", "%%") + ": %s")
	_, err := io.Copy(f, &counted{r: content, p: line, size: info.Size})
	line.finish("")
	if err != nil {
		return err
	}
	// What is pulled into /dev/null or a FIFO leaves the mode of that alone.
	if st, err := f.Stat(); info.Mode < 0 || err != nil || !st.Mode().IsRegular() {
		return err
	}
	return f.Chmod(fs.FileMode(info.Mode & 0o777))
}

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// newDirMode is for directories made with -p.
const newDirMode = 0o750

type pushCmd struct {
	c               *App
	recursive, dirs bool
	uid, gid        int64
	mode            string
}

func (c *App) filePushCommand() *cobra.Command {
	p := &pushCmd{c: c}
	cmd := &cobra.Command{
		Use:   usage("push", "<source path>... [<remote>:]<instance>/<path>"),
		Short: T("Copy files into an instance"),
		Example: examples(
			"berth file push site.conf web/etc/nginx/conf.d/", T("Copy a file into a folder of the instance web."),
			"echo hello | berth file push - web/tmp/greeting", T("Write what comes from a pipe."),
		),
		RunE: p.run,
	}
	f := cmd.Flags()
	f.BoolVarP(&p.recursive, "recursive", "r", false, T("Copy folders with all that is in them"))
	f.BoolVarP(&p.dirs, "create-dirs", "p", false, T("Make the folders inside that are missing"))
	f.Int64Var(&p.uid, "uid", -1, T("Owner of the file inside, as a number (default: that of the file here)")+"``")
	f.Int64Var(&p.gid, "gid", -1, T("Group of the file inside, as a number (default: that of the file here)")+"``")
	f.Lookup("uid").DefValue, f.Lookup("gid").DefValue = "0", "0" // pflag prints no default that is zero: -1 is what nobody types
	f.StringVar(&p.mode, "mode", "", T("Permissions of the file inside, in octal, such as 0644 (default: those of the file here)")+"``")
	return cmd
}

func (p *pushCmd) run(cmd *cobra.Command, args []string) error {
	if done, err := checkArgs(cmd, args, 2, -1); done {
		return err
	}
	sources := args[:len(args)-1]
	target, err := p.c.parsePath(args[len(args)-1])
	if err != nil {
		return err
	}
	mode := -1
	if p.mode != "" {
		m, err := strconv.ParseUint(strings.TrimPrefix(p.mode, "0o"), 8, 12)
		if err != nil {
			return fmt.Errorf(T("Invalid mode %q: not an octal number up to 7777"), p.mode)
		}
		mode = int(m)
	}
	if p.recursive {
		if p.uid != -1 || p.gid != -1 || mode != -1 {
			return errors.New(T("Can't supply uid/gid/mode in recursive mode"))
		}
		return p.trees(sources, target)
	}
	isDir, err := p.targetIsDir(target)
	if err != nil {
		return err
	}
	if len(sources) > 1 && !isDir {
		return missingTarget(target.path)
	}
	for _, source := range sources {
		if err := p.file(source, target, isDir, mode); err != nil {
			return err
		}
	}
	return nil
}

// targetIsDir tells whether sources go into the target rather than becoming it.
func (p *pushCmd) targetIsDir(target *instancePath) (bool, error) {
	if target.isDir {
		return true, nil
	}
	content, info, err := target.server.InstanceFile(target.instance, target.path)
	if err != nil {
		return false, nil // not there, or not to be looked at: writing will tell
	}
	if content != nil {
		content.Close()
	}
	return info.Type == client.FileDirectory, nil
}

// file pushes one file. Without --uid, --gid and --mode it keeps what the local file has.
func (p *pushCmd) file(source string, target *instancePath, intoDir bool, mode int) error {
	content, info, err := p.c.openLocal(source)
	if err != nil {
		return err
	}
	defer content.Close()
	dest := target.path
	if intoDir && source == "-" {
		source = "stdin" // what LXD calls it there
	}
	if intoDir {
		dest = path.Join(dest, filepath.Base(source))
	}
	up := client.FileUpload{UID: p.uid, GID: p.gid, Mode: mode, Type: client.FileRegular}
	if info != nil {
		uid, gid := ownerOf(info)
		if up.UID < 0 {
			up.UID = uid
		}
		if up.GID < 0 {
			up.GID = gid
		}
		if up.Mode < 0 {
			up.Mode = int(info.Mode().Perm())
		}
	}
	var made []string
	if p.dirs {
		uid, gid := int64(0), int64(0)
		if p.uid >= 0 {
			uid = p.uid
		}
		if p.gid >= 0 {
			gid = p.gid
		}
		made, err = mkdirAll(target, path.Dir(dest), newDirMode, uid, gid)
	}
	if err == nil {
		err = p.send(target, source, dest, content, info, up)
	}
	if err != nil {
		removeAll(target, made)
	}
	return err
}

func (p *pushCmd) send(target *instancePath, source, dest string, content interface{ Read([]byte) (int, error) }, info os.FileInfo, up client.FileUpload) error {
	line := p.c.newProgress(strings.ReplaceAll(fmt.Sprintf(T("Pushing %s to %s"), source, dest), "%", "%%") + ": %s")
	size := int64(-1)
	if info != nil {
		size = info.Size()
	}
	up.Content = &counted{r: content, p: line, size: size}
	err := target.server.PutInstanceFile(target.instance, dest, up)
	line.finish("")
	return withFolder(dest, err)
}

// withFolder says what was not found: the folder, that is, as what was pushed would have been made.
func withFolder(dest string, err error) error {
	if api.IsNotFound(err) && err.Error() == "Not Found" {
		return hinted{fmt.Errorf("%s: %w", path.Dir(dest), err), T("With -p (--create-dirs) the folders that are missing are made")}
	}
	return err
}

// mkdirAll makes a directory of an instance and those above it that are missing. It returns those that it made, outermost first, even if
// it fails.
func mkdirAll(target *instancePath, dir string, mode int, uid, gid int64) (made []string, err error) {
	if dir == "/" || dir == "." {
		return nil, nil
	}
	content, info, err := target.server.InstanceFile(target.instance, dir)
	if err == nil {
		if content != nil {
			content.Close()
		}
		if info.Type == client.FileRegular {
			return nil, fmt.Errorf(T("%s is not a directory"), dir)
		}
		return nil, nil
	}
	if !api.IsNotFound(err) && !strings.Contains(err.Error(), "ot found") {
		return nil, err
	}
	if made, err = mkdirAll(target, path.Dir(dir), mode, uid, gid); err != nil {
		return made, err
	}
	if err := target.server.PutInstanceFile(target.instance, dir, client.FileUpload{UID: uid, GID: gid, Mode: mode, Type: client.FileDirectory}); err != nil {
		return made, err
	}
	return append(made, dir), nil
}

// removeAll takes directories away that were made for a file which then could not be pushed. One that somebody has put something into
// stays.
func removeAll(target *instancePath, made []string) {
	for _, dir := range slices.Backward(made) {
		if target.server.DeleteInstanceFile(target.instance, dir) != nil {
			return
		}
	}
}

// trees pushes whole directories (or files) beneath the target.
func (p *pushCmd) trees(sources []string, target *instancePath) error {
	var made []string
	var err error
	if p.dirs {
		made, err = mkdirAll(target, target.path, newDirMode, 0, 0)
	}
	for _, source := range sources {
		if err == nil {
			err = p.tree(source, target)
		}
	}
	if err != nil {
		removeAll(target, made)
	}
	return err
}

func (p *pushCmd) tree(source string, target *instancePath) error {
	// "./" and ".." push what is in them; "dir" pushes the directory itself.
	parent := filepath.Dir(filepath.Clean(source))
	clean := filepath.Clean(source)
	if clean == "." {
		parent = "."
	} else if filepath.Base(clean) == ".." {
		parent = clean
	}
	return filepath.WalkDir(clean, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(parent, name)
		if err != nil {
			return err
		}
		if rel == "." {
			return nil
		}
		return p.entry(name, path.Join(target.path, filepath.ToSlash(rel)), info, target)
	})
}

func (p *pushCmd) entry(name, dest string, info fs.FileInfo, target *instancePath) error {
	uid, gid := ownerOf(info)
	up := client.FileUpload{UID: uid, GID: gid, Mode: int(info.Mode().Perm())}
	switch {
	case info.IsDir():
		up.Type = client.FileDirectory
		return withFolder(dest, target.server.PutInstanceFile(target.instance, dest, up))
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(name)
		if err != nil {
			return err
		}
		up.Type, up.Content = client.FileSymlink, strings.NewReader(link)
		return withFolder(dest, target.server.PutInstanceFile(target.instance, dest, up))
	case !info.Mode().IsRegular():
		return fmt.Errorf(T("'%s' isn't a supported file type"), name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	up.Type = client.FileRegular
	return p.send(target, name, dest, f, info, up)
}

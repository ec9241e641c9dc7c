package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/berthd/berth/client"
)

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
		name := filepath.FromSlash(rel)
		if err := root.Mkdir(name, fs.FileMode(info.Mode&0o777)|0o700); errors.Is(err, fs.ErrExist) {
			// Not Stat: where a link leads that an earlier pull has left, an instance has chosen.
			if now, err := root.Lstat(name); err != nil || !now.IsDir() {
				return fmt.Errorf(T("%s is there and not a directory"), filepath.Join(root.Name(), name))
			}
		} else if err != nil {
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
		return fmt.Errorf("%s: %w", from.path, err)
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
		if err := makeRoom(root, name, true); err != nil {
			return err
		}
		return root.Symlink(link, name)
	}
	if err := makeRoom(root, name, false); err != nil {
		return err
	}
	return p.write(from.path, content, info, name, func() (*os.File, error) { return root.Create(name) })
}

// makeRoom takes away what an earlier pull has left where a link or a file is to be: a link always, as a file would be written to where it
// leads; a file only for a link.
func makeRoom(root *os.Root, name string, files bool) error {
	now, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case now.Mode()&fs.ModeSymlink != 0 || files && !now.IsDir():
		return root.Remove(name)
	}
	return nil
}

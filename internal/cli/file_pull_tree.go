package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"

	"github.com/berthd/berth/api"
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
	p.left = 0
	if err := p.dir(from, info, root, path.Base(from.path)); err != nil {
		return err
	}
	if p.left > 0 {
		return fmt.Errorf(T("%d of what is in %s could not be pulled"), p.left, from.path)
	}
	return nil
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
		if !leftOut(err) {
			return fmt.Errorf("%s: %w", from.path, err)
		}
		p.left++
		fmt.Fprint(p.c.Err, printable(fmt.Sprintf(T("Left out: %s: %v")+"\n", from.path, err)))
		return nil
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
	f, err := root.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(p.fill(f, from.path, content, info, name), f.Close())
}

// leftOut tells errors that concern one file of a tree: it is a FIFO, a socket or a device, nobody may read it, or it has gone meanwhile.
func leftOut(err error) bool {
	switch api.StatusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden:
		return true
	case http.StatusNotFound:
		return err.Error() == "Not Found" // and not the instance
	}
	return false
}

// makeRoom takes away what an earlier pull has left where a link or a file is to be: a link always, as a file would be written to where it
// leads, and what is no file, as writing to a FIFO waits for a reader; a file only for a link.
func makeRoom(root *os.Root, name string, files bool) error {
	now, err := root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !now.IsDir() && (files || !now.Mode().IsRegular()):
		return root.Remove(name)
	}
	return nil
}

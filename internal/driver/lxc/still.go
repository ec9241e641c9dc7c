package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/berthd/berth/api"
)

// stillTime bounds how long a container's processes may take to stand still for a look at them.
var stillTime = 2 * time.Second

// holdStill freezes a container for a look at its processes, unless it is frozen already; resume lets it go on. A file says so meanwhile: if this
// daemon does not come to that, the next one does.
func (d *Driver) holdStill(ctx context.Context, id string) (resume func() error, err error) {
	if d.Status(id) == api.Frozen {
		return func() error { return nil }, nil
	}
	mark := d.stillMark(id)
	if err := os.MkdirAll(filepath.Dir(mark), 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, stillTime)
	defer cancel()
	if err := d.Freeze(bounded, id); err != nil { // and thaws it
		return nil, errors.Join(err, os.Remove(mark))
	}
	return func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
		defer cancel()
		if err := d.Thaw(ctx, id); err != nil && !errors.Is(err, os.ErrNotExist) && d.Status(id) == api.Frozen {
			return err
		}
		return os.Remove(mark)
	}, nil
}

func (d *Driver) stillMark(id string) string { return filepath.Join(d.root, "run", "still", id) }

// letGo thaws a container that a daemon before this one has frozen for a look.
func (d *Driver) letGo(ctx context.Context, id string) error {
	mark := d.stillMark(id)
	if _, err := os.Stat(mark); err != nil {
		return nil
	}
	if err := d.payload(id).Thaw(ctx); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("thawing: %w", err)
	}
	return os.Remove(mark)
}

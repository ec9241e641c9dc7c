package lxc

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/berthd/berth/internal/runtime"
	"github.com/berthd/berth/internal/spec"
)

// A container that restarts from inside ends and is started again by the driver. liblxc would do so within its
// monitor, but forgets on the way that the root file system is to be ID-mapped. So its hook at the end of a run leaves a
// file that says that the container wants to come back, and fails, which liblxc takes for "stop".

// restartTime bounds a start that nobody waits for.
const restartTime = time.Minute

// restartHook is the command of that hook: all of it is ours. liblxc hands it to a shell, which is why it is
// written as one; it is the path of a folder of the daemon's that is quoted. liblxc puts "exec" before it, so it begins
// with a redirection: that replaces no process.
func restartHook(marker string) string {
	return `>/dev/null; test "$LXC_TARGET" != reboot || { : > '` + strings.ReplaceAll(marker, `'`, `'\''`) + `'; false; }`
}

// wantsRestart tells whether a container that has ended is to come back. The mark stays until it does, or until Cleanup, for a
// daemon that comes after one that ended meanwhile.
func (d *Driver) wantsRestart(id string) bool {
	_, err := os.Lstat(d.layoutOf(id).Restart)
	return err == nil
}

// OnRestart has renew called when a container restarts from inside, with the function that runs it again: given nil,
// with the configuration it had. Without renew it is always that one. The context ends when somebody wants the container's end.
func (d *Driver) OnRestart(renew func(ctx context.Context, id string, launch func(*spec.Spec) error) error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.renew = renew
}

// restart brings a container back. For everyone else it has never gone.
func (d *Driver) restart(c *container) error {
	wanted, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	c.giveUp.Store(&giveUp)
	defer c.giveUp.Store(nil)
	if c.ending.Load() > 0 {
		giveUp()
	}
	l := d.layoutOf(c.id)
	var next *container
	launch := func(s *spec.Spec) (err error) {
		ctx, cancel := context.WithTimeout(context.Background(), restartTime)
		defer cancel()
		if s != nil {
			if err := d.prepare(ctx, s, l); err != nil {
				return err
			}
		}
		if err := os.Remove(l.Restart); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		next, err = d.launch(ctx, c.id, l)
		return err
	}
	d.mu.Lock()
	renew := d.renew
	d.mu.Unlock()
	if renew == nil {
		renew = func(_ context.Context, _ string, launch func(*spec.Spec) error) error { return launch(nil) }
	}
	if err := renew(wanted, c.id, launch); next == nil {
		return errors.Join(err, d.payload(c.id).Remove(), d.monitor(c.id).Remove())
	}
	c.become(next)
	if err := d.watch(c); err != nil {
		return err
	}
	if c.ending.Load() == 0 {
		return nil
	}
	if i := c.hold(); i != nil { // someone asked for its end meanwhile
		defer i.release()
		return kill(i.fd)
	}
	return nil
}

// wantRestart adds to found those that ended to restart from inside while no daemon ran.
func (d *Driver) wantRestart(found map[string]runtime.Process, owner runtime.Owner) {
	entries, err := os.ReadDir(filepath.Join(d.root, "run", "restart"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.log.Error("what wanted to restart from inside is not known", "err", err)
		return
	}
	for _, e := range entries {
		id := e.Name()
		if _, there := found[id]; there || d.get(id) != nil || d.monitor(id).Exists() {
			continue
		}
		p, err := readPlan(d.layoutOf(id))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // daemons before identities wrote none
			d.log.Error("whose a restart from inside is", "instance", id, "err", err)
		}
		if uuid, ok := owner(id); !ok || (runtime.Process{UUID: p.UUID}).Others(uuid) {
			d.log.Warn("what wanted to restart from inside was another instance's", "instance", id, "uuid", p.UUID)
			continue
		}
		found[id] = runtime.Process{ID: id, UUID: p.UUID, Restart: true}
	}
}

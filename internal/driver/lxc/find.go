package lxc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/runtime"
)

// lost is what may run and is not in the driver's keeping.
type lost struct {
	mu  sync.Mutex
	all error            // why it is not known what runs; then anything may
	one map[string]error // why a container that seems to run could not be taken over
}

// get is why a container that is not in the driver's keeping may run; nil if it does not.
func (l *lost) get(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all != nil {
		return l.all
	}
	return l.one[id]
}

func (l *lost) set(all error, one map[string]error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.one = all, one
}

func (l *lost) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.one, id)
}

// errStranger is of what runs under an ID and was not started for the instance that has it now: of another state of the store.
var errStranger = errors.New("it was started for another instance")

// missing is why a container that is not in the driver's keeping may run; nil if it does not. Nobody tells of the end of what
// is another's, so that is looked for each time.
func (d *Driver) missing(id string) error {
	err := d.lost.get(id)
	if errors.Is(err, errStranger) && d.empty(id) {
		d.lost.forget(id)
		return nil
	}
	return err
}

// empty tells whether nothing runs under an ID, as far as control groups tell.
func (d *Driver) empty(id string) bool {
	inside, err1 := d.payload(id).Procs()
	outside, err2 := d.monitor(id).Procs()
	return errors.Join(err1, err2) == nil && len(inside)+len(outside) == 0
}

// identityOf is the identity of what has, or had, an ID.
func (d *Driver) identityOf(id string) (string, error) {
	uuid, err := d.payload(id).Owner()
	if uuid != "" || err != nil {
		return uuid, err
	}
	return d.monitor(id).Owner()
}

// checkIdentity fails for what was not started for the instance that has the ID. What has no identity is that instance's: daemons
// before this one gave none, and a start that was cut off may not have come to it.
func (d *Driver) checkIdentity(id string, owner runtime.Owner) (identity string, err error) {
	identity, err = d.identityOf(id)
	if err != nil {
		return "", err
	}
	switch uuid, ok := owner(id); {
	case !ok:
		return identity, fmt.Errorf("%w, which is not known", errStranger)
	case runtime.Process{UUID: identity}.Others(uuid):
		return identity, fmt.Errorf("%w, whose UUID is %s", errStranger, identity)
	}
	return identity, nil
}

func errLost(cause error) error {
	return api.Unavailable("The instance may run but could not be taken over: %w", cause)
}

// checkNotLost fails for a container that may run though the driver does not have it.
func (d *Driver) checkNotLost(id string) error {
	if err := d.missing(id); err != nil {
		return errLost(err)
	}
	return nil
}

// absent is why there is nothing to be done to a container that the driver does not have.
func (d *Driver) absent(id string) error {
	if err := d.checkNotLost(id); err != nil {
		return err
	}
	return errNotRunning
}

// Find implements instance.Runtime.
func (d *Driver) Find(ctx context.Context, owner runtime.Owner) (map[string]runtime.Process, error) {
	names, err := d.cgroups.List(d.monitorPrefix())
	if err != nil {
		d.lost.set(err, nil)
		return nil, err
	}
	// All of them together: starts that hang must not hold up the daemon's own one after the other.
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	found, failed := map[string]runtime.Process{}, map[string]error{}
	for _, name := range names {
		id := strings.TrimPrefix(name, d.monitorPrefix())
		c, identity := d.get(id), ""
		if c == nil {
			c, identity, err = d.take(ctx, id, owner)
		}
		switch {
		case c != nil:
			if p := c.process(); p.InitPID != 0 {
				found[id] = p
			}
		case err != nil:
			failed[id] = err
			found[id] = runtime.Process{ID: id, UUID: identity, Err: err}
		}
	}
	d.wantRestart(found, owner)
	d.lost.set(nil, failed)
	d.clearStages(ctx)
	return found, nil
}

// take adopts a container that this daemon did not start; nil without an error if none runs under this ID. identity is its identity,
// whether or not it could be adopted.
func (d *Driver) take(ctx context.Context, id string, owner runtime.Owner) (c *container, identity string, err error) {
	// A start that a daemon before us began may still be on its way: it is over when its lock is free.
	lock, err := d.lock(ctx, id, unix.LOCK_SH)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = lock.Close() }()
	if c := d.get(id); c != nil {
		return c, c.uuid, nil
	}
	identity, stranger := d.checkIdentity(id, owner)
	if stranger == nil {
		if err := d.letGo(ctx, id); err != nil {
			return nil, identity, err
		}
	}
	c, err = d.open(id)
	if errors.Is(err, unix.ESRCH) {
		if err := d.payload(id).Empty(context.WithoutCancel(ctx), endTime); err != nil {
			return nil, identity, errors.Join(stranger, fmt.Errorf("%w, and their init is not to be found", err))
		}
		d.log.Info("control groups without a running instance", "instance", id, "err", err)
		return nil, identity, nil
	}
	if err == nil && stranger != nil {
		c.close()
	}
	if err = errors.Join(stranger, err); err != nil {
		return nil, identity, err
	}
	c.uuid = identity
	if err := d.register(c); err != nil {
		return nil, identity, err
	}
	return d.get(id), identity, nil
}

const (
	// findTime bounds the wait for starts that were under way when the daemon before this one ended.
	findTime = 10 * time.Second
	// endTime is how long what is left of a container without a monitor may take to end.
	endTime = time.Second
	// lockTime bounds the wait for the lock of a start, which the process of a start that hangs may hold.
	lockTime = 30 * time.Second
	// firstLook and lastLook are the pauses between two looks at a lock that is held.
	firstLook, lastLook = time.Millisecond, 50 * time.Millisecond
)

// lock takes the lock of an instance's start; closing the file gives it back.
func (d *Driver) lock(ctx context.Context, id string, how int) (*os.File, error) {
	dir := filepath.Join(d.root, "run", "locks")
	if err := d.passable(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			return nil, errors.Join(fmt.Errorf("lock of %s: %w", id, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("lock of %s, held by a start that does not end: %w", id, ctx.Err()), f.Close())
		case <-time.After(pause):
		}
	}
}

package lxc

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/berthd/berth/internal/driver/lxc/helper"
	"github.com/berthd/berth/internal/spec"
)

// maxMaps bounds how many user namespaces are kept. Most instances of a host have one map.
const maxMaps = 8

// idMaps keeps user namespaces to mount with, by their map: to make one takes a process.
type idMaps struct {
	make func(ctx context.Context, uids, gids string) (*os.File, error)

	mu   sync.Mutex
	kept map[string]*os.File
}

// get is a user namespace with a map. It is closed when nobody has it any more, whether it is kept or not.
func (k *idMaps) get(ctx context.Context, m []spec.IDMapEntry) (*os.File, error) {
	uids, gids := mapText(m, func(e spec.IDMapEntry) bool { return e.UID }), mapText(m, func(e spec.IDMapEntry) bool { return e.GID })
	key := uids + "\x00" + gids
	k.mu.Lock()
	have := k.kept[key]
	k.mu.Unlock()
	if have != nil {
		return have, nil
	}
	made, err := k.make(ctx, uids, gids)
	if err != nil {
		return nil, fmt.Errorf("user namespace for mounts: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.kept) >= maxMaps || k.kept == nil {
		// Whoever still mounts with one of them has it: the last to let go closes it.
		k.kept = map[string]*os.File{}
	}
	k.kept[key] = made
	return made, nil
}

// mapText is a map as the kernel takes it (user_namespaces(7)).
func mapText(m []spec.IDMapEntry, counts func(spec.IDMapEntry) bool) string {
	var b strings.Builder
	for _, e := range m {
		if counts(e) {
			fmt.Fprintf(&b, "%d %d %d\n", e.NSID, e.HostID, e.Count)
		}
	}
	return b.String()
}

// userns has the helper make a user namespace.
func (d *Driver) userns(ctx context.Context, uids, gids string) (*os.File, error) {
	return d.helper.File(ctx, helper.Call{Args: []string{"userns", d.lxcPath(), "userns", os.DevNull, uids, gids}})
}

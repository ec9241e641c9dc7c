package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berthd/berth/internal/store"
)

// Watch implements store.Engine. It breaks when the server that serves it has lost its leader: the next one may be
// served elsewhere.
func (e *Engine) Watch(ctx context.Context, prefix string, after store.Revision, deliver func([]store.Event)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.alive.Err() != nil {
		return context.Cause(e.alive)
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.alive, cancel)()
	responses := e.client.Watch(clientv3.WithRequireLeader(watching), prefix, clientv3.WithPrefix(), clientv3.WithRev(int64(after)+1))
	var broken error
	for resp := range responses {
		if broken = resp.Err(); broken != nil {
			break
		}
		if watching.Err() == nil {
			deliverCommits(resp.Events, deliver)
		}
	}
	switch {
	case e.alive.Err() != nil:
		return context.Cause(e.alive)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(broken, rpctypes.ErrCompacted):
		return fmt.Errorf("watch %s after revision %d: %w", prefix, after, store.ErrTooOld)
	}
	return fmt.Errorf("watch %s: %w: %w", prefix, store.ErrUnavailable, errors.Join(broken, errEnded))
}

var errEnded = errors.New("the watch ended")

// deliverCommits parts the events of a response, which are in order and hold whole revisions, into those of each commit.
func deliverCommits(events []*clientv3.Event, deliver func([]store.Event)) {
	for from := 0; from < len(events); {
		rev := events[from].Kv.ModRevision
		var commit []store.Event
		for ; from < len(events) && events[from].Kv.ModRevision == rev; from++ {
			kv := events[from].Kv
			commit = append(commit, store.Event{
				Entry:   store.Entry{Key: string(kv.Key), Value: kv.Value, Revision: store.Revision(rev)},
				Deleted: events[from].Type == clientv3.EventTypeDelete,
			})
		}
		deliver(commit)
	}
}

// Package etcd is the engine of a cluster: a client of etcd, and the member of it that runs in this process.
//
// A commit is one transaction of etcd, its revision is etcd's, and a guard compares the revision that wrote a key last. Reads
// are linearizable. A member without a quorum cannot tell: every call is bounded, by Options.Timeout if its context is
// not sooner, and ends in store.ErrUnavailable, or, of a commit, in store.ErrUnknownOutcome.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berthd/berth/internal/store"
)

// DefaultTimeout is longer than a member waits itself (seven seconds with etcd's default election timeout), so that it is
// the one to say what is wrong, if it can.
const DefaultTimeout = 10 * time.Second

// Options tune an engine. The zero value is right for the daemon.
type Options struct {
	Timeout time.Duration // of each call; 0 is DefaultTimeout
}

// Engine is a client of etcd.
type Engine struct {
	client  *clientv3.Client
	timeout time.Duration
	alive   context.Context // ends, with the cause, when nothing can be done any more
	end     context.CancelCauseFunc
}

var _ store.Engine = (*Engine)(nil)

// New makes an engine of a client, which it closes with itself.
func New(client *clientv3.Client, opts Options) *Engine {
	return newEngine(context.Background(), client, opts)
}

func newEngine(alive context.Context, client *clientv3.Client, opts Options) *Engine {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	e := &Engine{client: client, timeout: opts.Timeout}
	e.alive, e.end = context.WithCancelCause(alive)
	return e
}

// call runs a request under the engine's bounds. begun tells whether it may have reached a server. The request has a goroutine
// of its own: when a server in this process fails, it may hang, or end the goroutine that it is called on.
func call[T any](ctx context.Context, e *Engine, request func(context.Context) (T, error)) (result T, begun bool, err error) {
	if err := ctx.Err(); err != nil {
		return result, false, err
	}
	if e.alive.Err() != nil {
		return result, false, context.Cause(e.alive)
	}
	bounded, cancel := context.WithTimeout(ctx, e.timeout)
	defer cancel()
	type answer struct {
		result T
		err    error
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := request(bounded)
		answers <- answer{result, err}
	}()
	select {
	case a := <-answers:
		return a.result, true, a.err
	case <-bounded.Done():
		if err := ctx.Err(); err != nil {
			return result, true, err
		}
		return result, true, fmt.Errorf("no answer within %s: %w", e.timeout, context.DeadlineExceeded)
	case <-e.alive.Done():
		return result, true, context.Cause(e.alive)
	}
}

// page is how many entries a scan asks for at once.
const page = 1000

// Scan implements store.Engine.
func (e *Engine) Scan(ctx context.Context, prefix string, each func(store.Entry) error) (store.Revision, error) {
	if prefix == "" {
		prefix = "/" // as all keys begin
	}
	end := clientv3.GetPrefixRangeEnd(prefix)
	var at int64 // 0: now
	for from := prefix; ; {
		resp, _, err := call(ctx, e, func(ctx context.Context) (*clientv3.GetResponse, error) {
			return e.client.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(page), clientv3.WithRev(at))
		})
		if err != nil {
			return 0, failed(ctx, fmt.Sprintf("scan %s", prefix), err)
		}
		if at == 0 {
			at = resp.Header.Revision
		}
		for _, kv := range resp.Kvs {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			if err := each(store.Entry{Key: string(kv.Key), Value: kv.Value, Revision: store.Revision(kv.ModRevision)}); err != nil {
				return 0, err
			}
		}
		if !resp.More {
			return store.Revision(at), nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// Commit implements store.Engine.
func (e *Engine) Commit(ctx context.Context, ops []store.Op) (store.Revision, error) {
	if err := store.Validate(ops); err != nil {
		return 0, err
	}
	var guards []clientv3.Cmp
	var writes, looks []clientv3.Op
	for _, op := range ops {
		if op.Guard != nil {
			guards = append(guards, clientv3.Compare(clientv3.ModRevision(op.Key), "=", int64(*op.Guard)))
			looks = append(looks, clientv3.OpGet(op.Key, clientv3.WithKeysOnly()))
		}
		switch {
		case op.Check:
		case op.Delete:
			writes = append(writes, clientv3.OpDelete(op.Key))
		default:
			writes = append(writes, clientv3.OpPut(op.Key, string(op.Value), clientv3.WithLease(clientv3.LeaseID(op.Lease))))
		}
	}
	resp, begun, err := call(ctx, e, func(ctx context.Context) (*clientv3.TxnResponse, error) {
		return e.client.Txn(ctx).If(guards...).Then(writes...).Else(looks...).Commit()
	})
	switch {
	case err != nil && begun:
		return 0, commitError(ctx, err)
	case err != nil:
		return 0, err
	case !resp.Succeeded:
		return store.Revision(resp.Header.Revision), conflict(ops, resp)
	}
	return store.Revision(resp.Header.Revision), nil
}

// conflict names the first key whose guard did not hold.
func conflict(ops []store.Op, resp *clientv3.TxnResponse) error {
	n := 0
	for _, op := range ops {
		if op.Guard == nil {
			continue
		}
		var rev int64
		if kvs := resp.Responses[n].GetResponseRange().GetKvs(); len(kvs) > 0 {
			rev = kvs[0].ModRevision
		}
		if n++; store.Revision(rev) != *op.Guard {
			return fmt.Errorf("%s: %w", op.Key, store.ErrConflict)
		}
	}
	return store.ErrConflict
}

// Close implements store.Engine. What is in progress ends with ErrClosed.
func (e *Engine) Close() error {
	e.end(store.ErrClosed)
	if err := e.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("close the client of etcd: %w", err)
	}
	return nil
}

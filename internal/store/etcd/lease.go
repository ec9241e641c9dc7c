package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berthd/berth/internal/store"
)

// Grant implements store.Leases. etcd counts in seconds, and makes at least two of them.
func (e *Engine) Grant(ctx context.Context, ttl time.Duration) (store.LeaseID, error) {
	if ttl <= 0 {
		return 0, fmt.Errorf("a lease of %s: must be longer than nothing", ttl)
	}
	seconds := int64((ttl + time.Second - 1) / time.Second)
	resp, _, err := call(ctx, e, func(ctx context.Context) (*clientv3.LeaseGrantResponse, error) { return e.client.Grant(ctx, seconds) })
	if err != nil {
		return 0, failed(ctx, "lease", err)
	}
	return store.LeaseID(resp.ID), nil
}

// Renew implements store.Leases.
func (e *Engine) Renew(ctx context.Context, id store.LeaseID) error {
	_, _, err := call(ctx, e, func(ctx context.Context) (*clientv3.LeaseKeepAliveResponse, error) {
		return e.client.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	})
	return leaseError(ctx, id, err)
}

// Revoke implements store.Leases.
func (e *Engine) Revoke(ctx context.Context, id store.LeaseID) error {
	_, _, err := call(ctx, e, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		return e.client.Revoke(ctx, clientv3.LeaseID(id))
	})
	if err = leaseError(ctx, id, err); errors.Is(err, store.ErrNoLease) {
		return nil
	}
	return err
}

func leaseError(ctx context.Context, id store.LeaseID, err error) error {
	if err == nil {
		return nil
	}
	return failed(ctx, fmt.Sprintf("lease %x", int64(id)), err)
}

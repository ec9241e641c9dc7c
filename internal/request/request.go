// Package request carries who asks, and in which project, from the server down to the services.
package request

import (
	"context"

	"github.com/berthd/berth/api"
)

// Caller is who made a request.
type Caller struct {
	Protocol string // unix, tls, or empty for the daemon itself
	Username string // user name on the socket, certificate fingerprint over TLS
	Address  string // remote address, or "@" on the socket
	Trusted  bool
}

type callerKey struct{}

// WithCaller returns ctx with the caller in it.
func WithCaller(ctx context.Context, c Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerFrom returns the caller of ctx; the zero Caller is the daemon itself.
func CallerFrom(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// Requestor is the caller as events show it, or nil for the daemon itself.
func Requestor(ctx context.Context) *api.EventLifecycleRequestor {
	c := CallerFrom(ctx)
	if c.Protocol == "" {
		return nil
	}
	return &api.EventLifecycleRequestor{Username: c.Username, Protocol: c.Protocol, Address: c.Address}
}

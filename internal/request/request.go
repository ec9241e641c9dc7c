// Package request carries who asks, and in which project, from the server down to the services.
package request

import (
	"context"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
)

// Caller is who made a request.
type Caller struct {
	Protocol string // unix, tls, oidc, or empty for the daemon itself
	Username string // user name on the socket, certificate fingerprint over TLS, address of e-mail with OpenID Connect
	Address  string // remote address, or "@" on the socket
	Trusted  bool
	Rights   access.Rights // of whoever is not the daemon itself; found anew for each request
	Listed   bool          // the rights are those of the caller's certificate in the trust store
	ByGroups bool          // they are those of an identity, by its groups
	// ProviderGroups are those that an identity provider says the caller is in.
	ProviderGroups []string
}

// Identity tells callers apart; that of the daemon itself is empty.
func (c Caller) Identity() string {
	if c.Protocol == "" {
		return ""
	}
	return c.Protocol + ":" + c.Username
}

// May tells whether the caller has an entitlement on an object. The daemon itself may do everything.
func (c Caller) May(want access.Entitlement, o access.Object) bool {
	if want == access.Authenticated {
		return c.Trusted || c.Unbound()
	}
	return c.Unbound() || c.Rights.May(want, o)
}

// Unbound tells whether nothing is kept from the caller.
func (c Caller) Unbound() bool { return c.Protocol == "" || c.Rights.All() }

// ErrNotAuthorized is what everybody hears who may not do something.
var ErrNotAuthorized = api.Forbidden("not authorized")

// Require fails with 403 if the caller of ctx has no entitlement on an object. What is said is the same for objects that there are and that
// there are not: it has to be asked before either is known.
func Require(ctx context.Context, want access.Entitlement, o access.Object) error {
	if CallerFrom(ctx).May(want, o) {
		return nil
	}
	return ErrNotAuthorized
}

// Viewer tells which objects of a kind the caller of ctx sees; nil: all of them.
func Viewer(ctx context.Context, kind access.Entity) func(project, name string) bool {
	c := CallerFrom(ctx)
	if c.Unbound() {
		return nil
	}
	return c.Rights.Viewer(kind)
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

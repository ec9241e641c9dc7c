package certificate

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/request"
)

// maySee tells which certificates the caller sees: all, or their own.
func maySee(ctx context.Context) func(fingerprint string) bool {
	c := request.CallerFrom(ctx)
	if c.May(access.CanViewIdentities, access.Object{Entity: access.Server}) {
		return func(string) bool { return true }
	}
	return func(fingerprint string) bool { return c.May(access.CanView, object(fingerprint)) }
}

// mayAdd tells whether the caller may let others in.
func mayAdd(c request.Caller) bool {
	return c.May(access.CanCreateIdentities, access.Object{Entity: access.Server})
}

// mayEdit tells whether the caller may change what a certificate is for. Others who get so far may renew their own.
func mayEdit(ctx context.Context, fingerprint string) bool {
	return request.CallerFrom(ctx).May(access.CanEdit, object(fingerprint))
}

func object(fingerprint string) access.Object {
	return access.Object{Entity: access.Certificate, Name: fingerprint}
}

// sameButMaterial tells whether two certificates differ in nothing but the certificate itself, as when its holder renews it.
func sameButMaterial(a, b *api.Certificate) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Restricted == b.Restricted && slices.Equal(a.Projects, b.Projects)
}

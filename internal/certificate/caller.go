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

// mayGive fails unless the caller has all rights that a new certificate gives, or could have them, as they may change any certificate.
func mayGive(c request.Caller, put api.CertificatePut) error {
	var given access.Rights
	switch {
	case c.May(access.CanEdit, object("")):
		return nil
	case put.Type == "metrics":
		given = access.Metrics()
	case put.Restricted:
		for _, name := range put.Projects {
			if !c.May(access.Operator, access.InProject(name)) {
				return request.ErrNotAuthorized
			}
		}
	default:
		given = access.Full()
	}
	if !c.Unbound() && !c.Rights.Cover(given) {
		return request.ErrNotAuthorized
	}
	return nil
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

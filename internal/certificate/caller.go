package certificate

import (
	"context"
	"slices"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
)

// full tells whether a caller may do everything: add certificates, change what they are for, see and remove them. Whoever has a
// certificate that is restricted, or for metrics alone, cannot, so that what they could add would not be restricted less.
func (s *Service) full(c request.Caller) bool {
	switch {
	case c.Protocol == "": // the daemon itself
		return true
	case !c.Trusted:
		return false
	case c.Protocol != "tls":
		return true
	}
	row, kept := s.table.Get(c.Username)
	return !kept || row.Value.Type == "client" && !row.Value.Restricted
}

// viewer tells which certificates the caller sees: all, or their own.
func (s *Service) viewer(ctx context.Context) func(fingerprint string) bool {
	c := request.CallerFrom(ctx)
	if s.full(c) {
		return func(string) bool { return true }
	}
	return func(fingerprint string) bool { return c.Protocol == "tls" && fingerprint == c.Username }
}

// sameButMaterial tells whether two certificates differ in nothing but the certificate itself, as when its holder renews it.
func sameButMaterial(a, b *api.Certificate) bool {
	return a.Name == b.Name && a.Type == b.Type && a.Restricted == b.Restricted && slices.Equal(a.Projects, b.Projects)
}

package image

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// TestAnUploadMovesNobodysAlias: whoever launches by an alias gets what it names, so to bring images gives no right to it.
func TestAnUploadMovesNobodysAlias(t *testing.T) {
	s, _ := newService(t, store.NewMemory(), t.TempDir())
	old, err := importFile(t, s, unified(t, file{name: "rootfs/old"}), Request{Aliases: []api.ImageAlias{{Name: "stable"}}})
	if err != nil {
		t.Fatal(err)
	}
	in := access.InProject("default")
	alias := access.Object{Entity: access.ImageAlias, Project: "default", Name: "stable"}
	for name, c := range map[string]struct {
		grants []access.Grant
		alias  string
		want   int
	}{
		"brings images":            {nil, "stable", http.StatusForbidden},
		"brings images, a new one": {nil, "fresh", http.StatusForbidden},
		"makes aliases":            {[]access.Grant{{Entitlement: access.CanCreateAliases, Object: in}}, "stable", http.StatusForbidden},
		"makes aliases, a new one": {[]access.Grant{{Entitlement: access.CanCreateAliases, Object: in}}, "new", http.StatusOK},
		"edits this one":           {[]access.Grant{{Entitlement: access.CanEdit, Object: alias}}, "stable", http.StatusOK},
		"operates the project":     {[]access.Grant{{Entitlement: access.Operator, Object: in}}, "stable", http.StatusOK},
	} {
		rights := access.Of(append(c.grants, access.Grant{Entitlement: access.CanCreateImages, Object: in})...)
		ctx := request.WithCaller(t.Context(), request.Caller{Protocol: "tls", Username: "z", Trusted: true, Rights: rights})
		r, err := s.ReceiveFile(ctx, "default", bytes.NewReader(unified(t, file{name: "rootfs/" + name})))
		if err != nil {
			t.Fatal(err)
		}
		err = s.Import(r, Request{Project: "default", Aliases: []api.ImageAlias{{Name: c.alias}}}).Run(ctx, operation.NoProgress{})
		if refused := c.want == http.StatusForbidden; refused != (err != nil) || refused && api.StatusOf(err) != c.want {
			t.Errorf("who %s: %v", name, err)
		}
		a, _, err := s.Alias(t.Context(), "default", c.alias, false)
		switch moved := err == nil && a.Target == r.Fingerprint; {
		case moved != (c.want == http.StatusOK):
			t.Errorf("who %s: %+v, %v", name, a, err)
		case !moved && c.alias == "stable" && a.Target != old.Fingerprint:
			t.Errorf("who %s: it names %s", name, a.Target)
		}
		if c.want == http.StatusOK && c.alias == "stable" {
			if err := s.UpdateAlias(t.Context(), "default", "stable", func(p *api.ImageAliasesEntryPut) error { p.Target = old.Fingerprint; return nil }, anyRevision); err != nil {
				t.Fatal(err)
			}
		}
	}
}

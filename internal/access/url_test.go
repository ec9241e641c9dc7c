package access

import "testing"

func TestURLsOfObjects(t *testing.T) {
	for raw, want := range map[string]Object{
		"/1.0":                                  server,
		"/1.0/instances/c1":                     in(Instance, "default", "c1"),
		"/1.0/containers/c1?project=a":          in(Instance, "a", "c1"),
		"/1.0/instances/c1/snapshots/s0":        in(Instance, "default", "c1"),
		"/1.0/images/ff?project=a":              in(Image, "a", "ff"),
		"/1.0/images/aliases/a%2Fb":             in(ImageAlias, "default", "a/b"),
		"/1.0/images/aliases/a/b":               in(ImageAlias, "default", "a/b"),
		"/1.0/storage-pools/p":                  {Entity: StoragePool, Name: "p"},
		"/1.0/storage-pools/p/volumes/custom/v": in(StorageVolume, "default", "p/custom/v"),
		"/1.0/projects/a?project=b":             InProject("a"),
		"/1.0/certificates/ff":                  {Entity: Certificate, Name: "ff"},
		"/1.0/auth/groups/g":                    {Entity: Group, Name: "g"},
		"/1.0/auth/identities/oidc/a@b.c":       {Entity: Identity, Name: "oidc/a@b.c"},
		"/1.0/auth/identities/oidc/a%2Fb":       {Entity: Identity, Name: "oidc/a/b"},
		"/1.0/auth/identity-provider-groups/x":  {Entity: IdentityProviderGroup, Name: "x"},
	} {
		got, err := ParseURL(raw)
		if err != nil || got != want {
			t.Errorf("%s: %v %v", raw, got, err)
		}
		if again, err := ParseURL(got.URL()); err != nil || again != got {
			t.Errorf("%s becomes %s", raw, got.URL())
		}
	}
	for _, raw := range []string{"", "/", "/1.1", "/1.01", "c1", "/1.0/instances", "/1.0/nothing/x", "/1.0/auth", "/1.0/auth/groups", "/1.0/auth/identities/tls",
		"/1.0/images/aliases", "https://other/1.0/instances/c1", "/1.0/instances//c1", "/1.0/instances/%zz", "\x00"} {
		if o, err := ParseURL(raw); err == nil {
			t.Errorf("%q is %v", raw, o)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("/1.0/instances/c1?project=a")
	f.Add("/1.0/storage-pools/p/volumes/custom/v%2Fw")
	f.Add("/1.0/auth/identities/oidc/a%2Fb")
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := ParseURL(raw)
		if err != nil {
			return
		}
		if again, err := ParseURL(o.URL()); err != nil || again != o && o.Entity != StorageVolume {
			t.Errorf("%q: %v becomes %q: %v %v", raw, o, o.URL(), again, err)
		}
	})
}

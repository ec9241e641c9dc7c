package serverconfig

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/store"
)

func newService(t testing.TB) *Service {
	t.Helper()
	s := store.New(store.NewMemory())
	svc := New(s, event.Nobody{})
	if err := s.Load(context.Background()); err != nil {
		t.Fatal(err)
	}
	return svc
}

func anyRevision(store.Revision) error { return nil }

func TestChanges(t *testing.T) {
	ctx := context.Background()
	s := newService(t)
	if err := s.Merge(ctx, map[string]any{"user.a": "1", "core.shutdown_timeout": float64(3), "core.trust_password": "geheim"}, anyRevision); err != nil {
		t.Fatal(err)
	}
	shown, rev := s.Show()
	if shown["user.a"] != "1" || shown["core.shutdown_timeout"] != "3" || shown["core.trust_password"] != true || rev == 0 {
		t.Errorf("%v %d", shown, rev)
	}
	if strings.Contains(s.Get("core.trust_password"), "geheim") {
		t.Error("the password is kept as it is")
	}
	if !s.CheckPassword("geheim") || s.CheckPassword("geheimer") || s.CheckPassword("") || s.CheckPassword(s.Get("core.trust_password")) {
		t.Error("password check")
	}
	// What GET shows can be PUT: the password stays.
	delete(shown, "user.a")
	if err := s.Replace(ctx, shown, anyRevision); err != nil {
		t.Fatal(err)
	}
	if !s.CheckPassword("geheim") || s.Get("user.a") != "" || s.Int("core.shutdown_timeout") != 3 {
		t.Error("after replace")
	}
	if err := s.Merge(ctx, map[string]any{"core.trust_password": "", "core.shutdown_timeout": nil}, anyRevision); err != nil {
		t.Fatal(err)
	}
	if shown, _ := s.Show(); len(shown) != 0 || s.HasPassword() || s.CheckPassword("") || s.Int("core.shutdown_timeout") != 5 {
		t.Errorf("after unset: %v", shown)
	}
}

func TestRefusals(t *testing.T) {
	s := newService(t)
	for _, tt := range []struct {
		key   string
		value any
		want  string
	}{
		{"core.foo", "x", "cannot set 'core.foo' to 'x': unknown key"},
		{"core.trust_ca_certificates", "maybe", "cannot set 'core.trust_ca_certificates' to 'maybe': invalid boolean"},
		{"core.shutdown_timeout", "x", "cannot set 'core.shutdown_timeout' to 'x': invalid integer"},
		{"images.compression_algorithm", "foo", `cannot set 'images.compression_algorithm' to 'foo': Invalid compression algorithm "foo"`},
		{"core.https_address", "foo:bar:baz", `cannot set 'core.https_address' to 'foo:bar:baz': Couldn't resolve "foo:bar:baz"`},
		{"core.proxy_http", "a\nb", ""},
		{"user.x", []any{}, ""},
		{"user.x", "a\x00b", ""},
	} {
		err := s.Merge(context.Background(), map[string]any{tt.key: tt.value}, anyRevision)
		if api.StatusOf(err) != 400 || tt.want != "" && err.Error() != tt.want {
			t.Errorf("%s=%v: %v", tt.key, tt.value, err)
		}
	}
	err := s.Merge(context.Background(), map[string]any{"user.x": "1"}, func(store.Revision) error { return api.PreconditionFailed("no") })
	if api.StatusOf(err) != 412 {
		t.Errorf("%v", err)
	}
	if shown, rev := s.Show(); len(shown) != 0 || rev != 0 {
		t.Errorf("a refused change left %v", shown)
	}
}

func TestAChangeThatCannotTakeEffectChangesNothing(t *testing.T) {
	s := newService(t)
	var log []string
	s.OnChange("images.default_architecture", func(_ context.Context, v string) (func(), func(), error) {
		return func() { log = append(log, "commit "+v) }, func() { log = append(log, "abort "+v) }, nil
	})
	s.OnChange("user.z", func(context.Context, string) (func(), func(), error) { return nil, nil, errors.New("no") })
	both := map[string]any{"images.default_architecture": "i686", "user.z": "y"}
	if err := s.Merge(context.Background(), both, anyRevision); err == nil {
		t.Error("no error")
	}
	delete(both, "user.z")
	if err := s.Merge(context.Background(), both, anyRevision); err != nil {
		t.Error(err)
	}
	if err := s.Merge(context.Background(), both, anyRevision); err != nil { // nothing changes: nothing is done
		t.Error(err)
	}
	if got := strings.Join(log, ","); got != "abort i686,commit i686" {
		t.Error(got)
	}
}

func FuzzMerge(f *testing.F) {
	f.Add("user.x", "1")
	f.Add("core.https_address", "[::]:8443")
	f.Add("core.trust_ca_certificates", "true")
	f.Fuzz(func(t *testing.T, key, value string) {
		if key == passwordKey {
			return // costs too much to hash
		}
		s := newService(t)
		err := s.Merge(context.Background(), map[string]any{key: value}, anyRevision)
		if err != nil && api.StatusOf(err) != 400 {
			t.Errorf("%q=%q: %v", key, value, err)
		}
		if err == nil && s.Get(key) != value && value != "" {
			t.Errorf("%q=%q became %q", key, value, s.Get(key))
		}
	})
}

// TestEqualPasswordsAreKeptDifferently: who gets hold of two stores, or of tables made beforehand, learns nothing from what they share.
func TestEqualPasswordsAreKeptDifferently(t *testing.T) {
	kept := map[string]bool{}
	for range 3 {
		s := newService(t)
		if err := s.Merge(context.Background(), map[string]any{"core.trust_password": "geheim"}, anyRevision); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(s.Get("core.trust_password"), ":")
		if len(parts) != 3 || parts[0] != "scrypt" || len(parts[1]) < 32 || len(parts[2]) < 64 {
			t.Fatalf("kept as %q", parts)
		}
		for _, part := range parts[1:] {
			if kept[part] {
				t.Errorf("%s comes twice", part)
			}
			kept[part] = true
		}
		if !s.CheckPassword("geheim") {
			t.Error("the password is not taken")
		}
	}
}

// TestNumbersAreKeptAsTheyWereWritten: JSON and YAML bring them as floating point, in which large ones have powers of ten.
func TestNumbersAreKeptAsTheyWereWritten(t *testing.T) {
	for want, value := range map[string]any{
		"3": float64(3), "0": float64(0), "-1": float64(-1), "1.5": 1.5, "10000000": 1e7, "123456789012": float64(123456789012), "9007199254740992": float64(1 << 53),
		"0.00000001": 1e-8, "true": true, "false": false, "1e7": "1e7", "": nil,
	} {
		s := newService(t)
		if err := s.Merge(context.Background(), map[string]any{"user.a": value}, anyRevision); err != nil {
			t.Fatal(err)
		}
		if got := s.Get("user.a"); got != want {
			t.Errorf("%v is kept as %q, not %q", value, got, want)
		}
	}
}

package apparmor

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
)

// fake is a host whose kernel is a folder.
func fake(t *testing.T) *Host {
	t.Helper()
	root := t.TempDir()
	h := New(root)
	h.fs, h.state = filepath.Join(root, "kernel"), On
	for path, text := range map[string]string{
		".replace": "", ".remove": "", "features/domain/stack": "yes\n", "features/namespaces/profile": "yes\n",
		"profiles": "other (enforce)\n" + h.Name(Instance, "c1") + " (enforce)\n" + h.Name(Instance, "c1") + "//sub (enforce)\n" +
			h.Name(Instance, "c2") + " (complain)\n" + h.Name(Dnsmasq, "br0") + " (enforce)\nberth-00000000-instance-c3 (enforce)\n",
		"policy/namespaces/x": "",
	} {
		path = filepath.Join(h.fs, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func needParser(t *testing.T) {
	t.Helper()
	if findParser() == "" {
		t.Skip("needs apparmor_parser (package apparmor)")
	}
}

// kernel is the machine's own AppArmor.
func kernel(t *testing.T) *Host {
	t.Helper()
	h := New(t.TempDir())
	if state, why := h.State(); state != On {
		t.Skip("needs a kernel with AppArmor, such as the lab's: " + why)
	}
	return h
}

func TestPathsMeanThemselves(t *testing.T) {
	for _, p := range []string{
		"", "x", "/a/../b", "/a//b", "/a\nb", "/a\x00", `/a"b`, `/a\b`, "/a*", "/a?", "/{a,b}", "/a[b]", "/^", "/@{HOME}", "/a,", "/a#b", "/a\tb", "/a\x7f",
	} {
		for _, r := range append(Tree(p, "r"), File(p, "r")) {
			if r.err == nil && p != "" {
				t.Errorf("%q became %s", p, r.text)
			}
		}
	}
	if r := File("/a b/ü", "rw"); r.err != nil || r.text != `"/a b/ü" rw` {
		t.Errorf("%+v", r)
	}
	for _, r := range []Rule{File("/a", "rw,"), File("/a", ""), Capability("net_admin, file"), Network("inet\n"), Fixed("a\nb")} {
		if r.err == nil {
			t.Errorf("taken: %s", r.text)
		}
	}
}

func TestTextOfAProgram(t *testing.T) {
	h := New("/")
	p := Program{
		Kind: Dnsmasq, ID: "br0", Executables: []string{"/usr/sbin/dnsmasq"}, Read: []string{"/v/raw", "/v/hosts/"}, Write: []string{"/v/leases"},
		Capabilities: []string{"net_admin"}, Network: []string{"inet dgram"},
	}.Profile()
	text, err := h.Text(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`profile "` + h.Name(Dnsmasq, "br0") + `" flags=(attach_disconnected,mediate_deleted) {`, `  "/usr/sbin/dnsmasq" mrix,`, `  "/v/raw" r,`,
		`  "/v/hosts/" r,`, `  "/v/hosts/**" r,`, `  "/v/leases" rwk,`, "  capability net_admin,", "  network inet dgram,",
		`  signal (send) peer="` + h.Name(Dnsmasq, "br0") + `{,//&**}",`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s in\n%s", line, text)
		}
	}
	for _, id := range []string{"", "a b", "a\n", `a"`, "a/b", "-", strings.Repeat("x", 300)} {
		p.ID = id
		if _, err := h.Text(p); err == nil {
			t.Errorf("ID %q is taken", id)
		}
	}
	p.ID, p.Rules = "br0", []Rule{File("relative", "r")}
	if _, err := h.Text(p); err == nil {
		t.Error("a bad rule is taken")
	}
}

func TestRawStaysInsideItsProfile(t *testing.T) {
	for raw, ok := range map[string]bool{
		"capability sys_time,":                  true,
		"# a comment with } and \"\nmount,":     true,
		`"/a}b" r,`:                             true,
		`/a\}b r,`:                              true,
		"profile x { file, }":                   true,
		"}":                                     false,
		"}\nprofile \"evil\" {":                 false,
		"file,\n} profile x flags=(complain) {": false,
		"profile x {":                           false,
		`"/a`:                                   false,
		"#include <tunables/global>":            false,
		"include \"/etc/shadow\"":               false,
		"file, include <abstractions/base>":     false,
		"/usr/include/** r,":                    true,
		"a\x00":                                 false,
	} {
		if err := CheckRaw(raw); (err == nil) != ok || err != nil && api.StatusOf(err) != 400 {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestTheParserReadsRaw(t *testing.T) {
	needParser(t)
	h := New(t.TempDir())
	for raw, ok := range map[string]bool{
		"mount fstype=ext4,":        true,
		"profile x { file, }":       true,
		"no such rule":              false,
		"mount fstype=ext4":         false, // without its comma
		"include <tunables/none>":   false,
		"capability no_such_thing,": false,
	} {
		if err := h.Check(t.Context(), raw); (err == nil) != ok || err != nil && api.StatusOf(err) != 400 {
			t.Errorf("%q: %v", raw, err)
		}
	}
}

func TestTheParserRunsOncePerText(t *testing.T) {
	needParser(t)
	h := fake(t)
	ctx := t.Context()
	p := Program{Kind: Instance, ID: "c9"}.Profile()
	p.Namespace = true
	name := h.Name(Instance, "c9")
	label, err := h.Load(ctx, p)
	if err != nil || label != name+"//&:"+name+":" {
		t.Fatal(label, err)
	}
	if _, err := os.Stat(h.namespace(name)); err != nil {
		t.Error(err)
	}
	loaded := func() []byte {
		raw, err := os.ReadFile(filepath.Join(h.fs, ".replace"))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	first := loaded()
	parser := h.parser
	h.parser = ""
	if _, err := h.Load(ctx, p); err != nil || !bytes.Equal(loaded(), first) {
		t.Error("the second time is not served from the cache:", err)
	}
	p.Raw = "capability sys_time,"
	if _, err := h.Load(ctx, p); !errors.Is(err, ErrNoParser) {
		t.Error("another text without a parser:", err)
	}
	p.Raw = ""
	if err := os.WriteFile(h.file("cache", name), []byte("torn"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Load(ctx, p); !errors.Is(err, ErrNoParser) {
		t.Error("a damaged cache is used:", err)
	}
	h.parser = parser
	if _, err := h.Load(ctx, p); err != nil {
		t.Error(err)
	}
}

func TestSweepTouchesOnlyOurs(t *testing.T) {
	h := fake(t)
	names, err := h.Loaded()
	if diff := cmp.Diff([]string{h.Name(Instance, "c1"), h.Name(Instance, "c2"), h.Name(Dnsmasq, "br0")}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	file := func(name string) string { return h.file("profiles", name) }
	if err := os.MkdirAll(filepath.Dir(file("x")), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{h.Name(Instance, "c1"), h.Name(Instance, "c2"), h.Name(Instance, "gone"), "berth-00000000-instance-c3", h.Name(Dnsmasq, "br0")} {
		if err := os.WriteFile(file(name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Sweep(Instance, func(id string) bool { return id == "c1" }, func(id string) bool { return id != "gone" }); err != nil {
		t.Fatal(err)
	}
	if removed, _ := os.ReadFile(filepath.Join(h.fs, ".remove")); string(removed) != h.Name(Instance, "c2") {
		t.Errorf("out of the kernel: %q", removed)
	}
	left, err := filepath.Glob(file("*"))
	if err != nil || len(left) != 4 {
		t.Error(left, err)
	}
	if err := h.Remove(Dnsmasq, "br0"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file(h.Name(Dnsmasq, "br0"))); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	// On a host without AppArmor, and without a daemon's Host at all, all of this is nothing.
	for _, none := range []*Host{nil, {}} {
		label, err := none.Load(t.Context(), Profile{})
		if err := errors.Join(err, none.Unload(Instance, "c1")); label != "" || err != nil {
			t.Error(label, err)
		}
	}
}

func TestAProgramUnderItsProfile(t *testing.T) {
	needParser(t)
	h := kernel(t)
	cat, err := exec.LookPath("cat")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, name := range []string{"mine", "other"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	label, err := h.Load(t.Context(), Program{Kind: Unpack, ID: "cat", Executables: []string{cat}, Read: []string{dir + "/mine", "/proc/"}}.Profile())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Remove(Unpack, "cat"); err != nil {
			t.Error(err)
		}
		if names, err := h.Loaded(); err != nil || len(names) != 0 {
			t.Error("left:", names, err)
		}
	})
	run := func(path string) (string, error) {
		var out bytes.Buffer
		cmd := exec.Command(cat, path)
		cmd.Stdout = &out
		if err := Start(cmd, label); err != nil {
			return "", err
		}
		err := cmd.Wait()
		return out.String(), err
	}
	if got, err := run("/proc/self/attr/current"); err != nil || !strings.HasPrefix(got, label+" (enforce)") {
		t.Error(got, err)
	}
	if got, err := run(dir + "/mine"); err != nil || got != "mine" {
		t.Error(got, err)
	}
	if got, err := run(dir + "/other"); err == nil {
		t.Errorf("it read %q", got)
	}
	if err := Start(exec.Command(cat, "/dev/null"), label+"-not"); err == nil {
		t.Error("a program started under a profile that there is not")
	}
	if got := ownLabel(); got != "unconfined" {
		t.Error("the test itself is confined:", got)
	}
}

func FuzzLiteral(f *testing.F) {
	f.Add("/a b")
	f.Add("/a\",\n\"/")
	f.Fuzz(func(t *testing.T, p string) {
		if r := File(p, "r"); r.err == nil && (strings.Count(r.text, `"`) != 2 || strings.ContainsAny(r.text, "\n\r\x00{}*?[]@#,")) {
			t.Errorf("%q became %q", p, r.text)
		}
	})
}

func FuzzCheckRaw(f *testing.F) {
	f.Add("profile x { \"}\" r, }")
	f.Add("}\n{")
	f.Fuzz(func(t *testing.T, raw string) {
		if CheckRaw(raw) == nil && strings.TrimSpace(raw) == "}" {
			t.Errorf("%q", raw)
		}
	})
}

package cli

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", map[string]any{"auth": "trusted", "environment": map[string]any{}})
	f.gives("GET /1.0/images/aliases", []api.ImageAliasesEntry{{Name: "debian"}, {Name: "bb"}})
	f.fails("GET /1.0/images/nosuch", 404, "Image not found")
	f.gives("GET /1.0/images/aliases/bb", api.ImageAliasesEntry{Name: "bb", ImageAliasesEntryPut: api.ImageAliasesEntryPut{Target: "ff"}})
	f.gives("GET /1.0/images/ff", api.Image{Fingerprint: "ff"})
	f.fails("POST /1.0/instances/c1/files", 404, "Not Found")
	for command, want := range map[string][]string{
		"init nosuch c1":           {"Error: Image not found\n", "debian, bb", "berth image build"},
		"launch nosuch c1":         {"Error: Image not found\n", "debian, bb"},
		"file push F c1/nodir/x":   {"Error: /nodir: Not Found\n", "-p"},
		"file push F c1/a/b/x/":    {"Error: /a/b/x: Not Found\n", "-p"},
		"lsit":                     {`Error: unknown command "lsit" for "berth"`, "\tlist\n"},
		"config shwo":              {`Error: unknown command "shwo" for "berth config"`, "\tshow\n"},
		"storage volume crate":     {`Error: unknown command "crate" for "berth storage volume"`, "\tcreate\n"},
		"help lsit":                {`Error: unknown command "lsit" for "berth"`, "\tlist\n"},
		"help config shwo":         {`Error: unknown command "shwo" for "berth config"`, "\tshow\n"},
		"file push -r D c1/no/x":   {"Error: /no/x: Not Found\n", "-p"},
		"config device qwertyuiop": {"Error: unknown command \"qwertyuiop\" for \"berth config device\"\n"},
	} {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		got := berth("", strings.Fields(strings.NewReplacer("F", file, "D", filepath.Dir(file)).Replace(command))...)
		for _, text := range want {
			if got.code != 1 || !strings.Contains(got.err, text) {
				t.Errorf("%s: %+v, want %q", command, got, text)
			}
		}
	}
	f.gives("GET /1.0/images/aliases", []api.ImageAliasesEntry{})
	if got := berth("", "init", "nosuch", "c1"); !strings.Contains(got.err, "no image with an alias yet") {
		t.Errorf("%+v", got)
	}
	f.fails("POST /1.0/instances", 400, "Failed getting root disk: No root device could be found")
	if got := berth("", "init", "bb", "c1"); !strings.Contains(got.err, "could be found\n") || !strings.Contains(got.err, "`berth init`") {
		t.Errorf("%+v", got)
	}
}

func TestWhyTheDaemonCannotBeReached(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("BERTH_CONF", dir)
	t.Setenv("BERTH_SOCKET", filepath.Join(dir, "none"))
	got := berth("", "list")
	if !strings.Contains(got.err, `Error: Get "http://unix.socket/1.0`) || !strings.Contains(got.err, "Is berthd running?") {
		t.Errorf("no socket: %+v", got)
	}
	if got := berth("", "profile", "create", "p"); !strings.Contains(got.err, `Error: Post "http://unix.socket/1.0/profiles"`) {
		t.Errorf("the call that failed is not named: %+v", got)
	}
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	t.Setenv("BERTH_SOCKET", stale)
	if got := berth("", "list"); !strings.Contains(got.err, "Is berthd running?") {
		t.Errorf("a socket that nobody listens on: %+v", got)
	}
	if hint := socketHint(&net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", os.ErrPermission)}); !strings.Contains(hint, "group berth") {
		t.Errorf("no permission: %q", hint)
	}
}

func TestABrokenConfigurationIsNamedWithItsLine(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("BERTH_CONF", dir)
	file := filepath.Join(dir, "config.yml")
	for text, line := range map[string]string{"default-remote: local\nremotes:\n  a: 5\n": "line 3", "default-remote: local\nremotes:\n\ta: b\n": "line 3"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := berth("", "list"); got.code != 1 || !strings.Contains(got.err, file) || !strings.Contains(got.err, line) {
			t.Errorf("%+v", got)
		}
	}
}

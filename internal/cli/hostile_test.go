package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// guest is what the files of an instance are, by path: a folder's entries, a link's target, a file's content.
type guest map[string]struct {
	kind, content string
	entries       []string
}

// serve answers for the files of the instance c1.
func (g guest) serve(f *fakeServer) {
	f.answers["GET /1.0/instances/c1/files"] = func(w http.ResponseWriter, r *http.Request, _ []byte) {
		file, ok := g[r.URL.Query().Get("path")]
		if !ok {
			fail(w, http.StatusNotFound, "Not Found")
			return
		}
		w.Header().Set("X-LXD-type", file.kind)
		w.Header().Set("X-LXD-mode", "0644")
		if file.kind == "directory" {
			give(w, file.entries)
			return
		}
		_, _ = io.WriteString(w, file.content)
	}
}

// A link that was pulled before leads where the instance wants: nothing must be written through it.
func TestNothingIsPulledThroughALink(t *testing.T) {
	const evil = "evil\n"
	type files = guest
	for name, test := range map[string]struct {
		first, then         guest
		pullFirst, pullThen string
		refused             string // what the second pull says, if it is to fail
	}{
		"into a folder": {
			first: files{"/a": {kind: "symlink", content: "../home/secret"}}, then: files{"/a": {kind: "file", content: evil}},
			pullFirst: "c1/a dest/", pullThen: "c1/a dest/",
		},
		"twice at once": {
			first:     files{"/a/x": {kind: "symlink", content: "../home/secret"}, "/b/x": {kind: "file", content: evil}},
			pullFirst: "c1/a/x c1/b/x dest/",
		},
		"under a name": {
			first: files{"/a": {kind: "symlink", content: "home/secret"}}, then: files{"/a": {kind: "file", content: evil}},
			pullFirst: "c1/a copy", pullThen: "c1/a copy", refused: "copy is a symbolic link",
		},
		"a folder now": {
			first:     files{"/a": {kind: "directory", entries: []string{"d"}}, "/a/d": {kind: "symlink", content: "../home"}},
			then:      files{"/a": {kind: "directory", entries: []string{"d"}}, "/a/d": {kind: "directory", entries: []string{"secret"}}, "/a/d/secret": {kind: "file", content: evil}},
			pullFirst: "-r c1/a .", pullThen: "-r c1/a .", refused: "a/d is there and not a directory",
		},
		"a folder at the top": {
			first:     files{"/a": {kind: "symlink", content: "home"}},
			then:      files{"/a": {kind: "directory", entries: []string{"secret"}}, "/a/secret": {kind: "file", content: evil}},
			pullFirst: "c1/a .", pullThen: "-r c1/a .", refused: "a is there and not a directory",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			t.Chdir(t.TempDir())
			for _, dir := range []string{"home", "dest"} {
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			secret := filepath.Join("home", "secret")
			if err := os.WriteFile(secret, []byte("mine\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			test.first.serve(f)
			if got := berth("", append([]string{"file", "pull"}, strings.Fields(test.pullFirst)...)...); got.code != 0 {
				t.Fatalf("%+v", got)
			}
			if test.then != nil {
				test.then.serve(f)
				got := berth("", append([]string{"file", "pull"}, strings.Fields(test.pullThen)...)...)
				if (got.code != 0) != (test.refused != "") || !strings.Contains(got.err, test.refused) {
					t.Errorf("%+v", got)
				}
			}
			if data, err := os.ReadFile(secret); err != nil || string(data) != "mine\n" {
				t.Errorf("the file that the link leads to: %q, %v", data, err)
			}
		})
	}
}

// The user's own link to a device or a pipe is followed.
func TestAFileIsPulledIntoStandardOutput(t *testing.T) {
	guest{"/a": {kind: "file", content: "x"}}.serve(newFake(t))
	if err := removeLink("/dev/stdout", false); err != nil {
		t.Error(err)
	}
	if got := berth("", "file", "pull", "c1/a", "/dev/null"); got.code != 0 {
		t.Errorf("%+v", got)
	}
}

// A guest's root calls its interfaces what it likes, escape sequences included.
func TestNamesOfAGuestDoNothingToTheTerminal(t *testing.T) {
	f := newFake(t)
	i := api.InstanceFull{}
	i.Name, i.Status, i.StatusCode = "c1", "Running", api.Running
	i.State = &api.InstanceState{Pid: 1, Network: map[string]api.InstanceStateNetwork{
		"a\x1b[2Jb": {Addresses: []api.InstanceStateNetworkAddress{{Family: "inet", Address: "10.0.0.1", Netmask: "8", Scope: "global"}}},
	}}
	f.gives("GET /1.0/instances/c1", i)
	f.gives("GET /1.0", api.Server{})
	f.gives("GET /1.0/instances", []api.InstanceFull{i})
	guest{"/a": {kind: "directory", entries: []string{"q\x1b[2J"}}}.serve(f)
	for _, args := range [][]string{{"info", "c1"}, {"list"}, {"file", "pull", "-r", "c1/a", t.TempDir()}} {
		got := berth("", args...)
		if shown := got.out + got.err; strings.Contains(shown, "\x1b") || !strings.Contains(shown, "?[2J") {
			t.Errorf("%q: %q; %q", args, shown, f.asked(""))
		}
	}
}

// A server says what the files of an image are called. It does not get to write others.
func TestAnExportWritesWhatAnImageMayBeCalled(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{
		"image.tar.gz": "image.tar.gz", "../../etc/passwd": "passwd", "/etc/passwd": "passwd", ".bashrc": "bashrc", "a/.profile": "profile", "...": "",
	} {
		if got := exportName(dir, client.ImageFile{Name: name}); got != filepath.Join(dir, want) {
			t.Errorf("%q is written to %s", name, got)
		}
	}
}

// What an image says of itself, and the models of what is plugged in, are a stranger's words. So is what a server tells.
func TestImageInfoIsPrintable(t *testing.T) {
	const evil = "a\x1b[2Jb\u009b2J"
	f := newFake(t)
	img := api.Image{Fingerprint: "f00d", Type: "container", Architecture: evil}
	img.Properties = map[string]string{"description": evil, evil: "x"}
	img.Aliases = []api.ImageAlias{{Name: evil, Description: evil}}
	img.UpdateSource = &api.ImageSource{Server: evil, Alias: evil}
	f.gives("GET /1.0/images/f00d", img)
	f.gives("GET /1.0/resources", map[string]any{
		"cpu": map[string]any{}, "memory": map[string]any{}, "storage": map[string]any{"disks": []any{map[string]any{"id": "sda", "model": evil}}, "total": 1},
		"gpu": map[string]any{"cards": []any{map[string]any{"vendor": evil}}, "total": 1},
	})
	f.gives("GET /1.0/networks/n1/state", api.NetworkState{Hwaddr: evil, Addresses: []api.NetworkStateAddress{{Family: evil}}})
	f.gives("GET /1.0/storage-pools/p1/volumes/custom/v1/state", map[string]any{})
	f.gives("GET /1.0/storage-pools/p1/volumes/custom/v1", map[string]any{"name": "v1", "description": evil})
	i := api.InstanceFull{}
	i.Name = "c1"
	f.gives("GET /1.0/instances/c1", i)
	f.gives("GET /1.0", api.Server{})
	f.answers["GET /1.0/instances/c1/logs/lxc.log"] = func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, evil) }
	for _, args := range [][]string{
		{"image", "info", "f00d"}, {"info", "--resources"}, {"network", "info", "n1"}, {"storage", "volume", "info", "p1", "v1"}, {"info", "c1", "--show-log"},
	} {
		got := berth("", args...)
		if got.code != 0 || strings.ContainsAny(got.out+got.err, "\x1b\u009b") || !strings.Contains(got.out, "a?[2Jb?2J") {
			t.Errorf("%q: %+v; %q", args, got, f.asked(""))
		}
	}
}

// An event names what guests and clients have named.
func TestEventsArePrintable(t *testing.T) {
	var out strings.Builder
	c := &App{Out: &out}
	event := &api.Event{Type: "logging", Metadata: []byte(`{"level": "info", "message": "a\u001b[2Jb"}`)}
	if err := c.showEvent(event, "pretty", ""); err != nil || strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "a?[2Jb") {
		t.Errorf("%q, %v", out.String(), err)
	}
	out.Reset()
	if c.say("Profiles applied to %s", "a\x1b[2Jb"); strings.Contains(out.String(), "\x1b") || !strings.Contains(out.String(), "a?[2Jb") {
		t.Errorf("%q", out.String())
	}
}

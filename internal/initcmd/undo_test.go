package initcmd

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// values are what a test's server keeps of an object.
type values struct {
	Description string                       `json:"description"`
	Config      map[string]any               `json:"config"`
	Devices     map[string]map[string]string `json:"devices"`
}

// keeper is a server of objects under paths, with ETags.
type keeper struct {
	t       *testing.T
	objects map[string]values
	etags   map[string]int
	log     []string // "METHOD path" of what changes something
	before  func(request string) error
}

func newKeeper(t *testing.T, paths ...string) (*keeper, *client.Client) {
	t.Helper()
	k := &keeper{t: t, objects: map[string]values{}, etags: map[string]int{}}
	for _, path := range paths {
		k.set(path, "old", "1")
	}
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: k}}
	server.Start()
	t.Cleanup(server.Close)
	c, err := client.ConnectUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	return k, c
}

// set is what somebody else does: a key gets a value.
func (k *keeper) set(path, key, value string) {
	v := k.objects[path]
	v.Config = maps.Clone(v.Config)
	if v.Config == nil {
		v.Config = map[string]any{}
	}
	v.Config[key] = value
	k.objects[path] = v
	k.etags[path]++
}

func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	path, request := r.URL.Path, r.Method+" "+r.URL.Path
	if r.Method != http.MethodGet {
		k.log = append(k.log, request)
	}
	if k.before != nil {
		if err := k.before(request); err != nil {
			k.answer(w, api.Response{Type: api.ErrorResponse, ErrorCode: 400, Error: err.Error()})
			return
		}
	}
	_, there := k.objects[path]
	switch {
	case r.Method == http.MethodPost:
		var post struct{ Name string }
		_ = json.Unmarshal(body, &post)
		k.put(path+"/"+post.Name, body)
	case !there:
		k.answer(w, api.Response{Type: api.ErrorResponse, ErrorCode: 404, Error: "not found"})
		return
	case r.Method == http.MethodDelete:
		delete(k.objects, path)
	case r.Method == http.MethodPut:
		if match := r.Header.Get("If-Match"); match != "" && match != fmt.Sprint(k.etags[path]) {
			k.answer(w, api.Response{Type: api.ErrorResponse, ErrorCode: 412, Error: "ETag doesn't match"})
			return
		}
		k.put(path, body)
	}
	w.Header().Set("ETag", fmt.Sprint(k.etags[path]))
	raw, _ := json.Marshal(k.objects[path])
	k.answer(w, api.Response{Type: api.SyncResponse, StatusCode: 200, Metadata: raw})
}

func (k *keeper) put(path string, body []byte) {
	var v values
	if err := json.Unmarshal(body, &v); err != nil {
		k.t.Error(err)
	}
	if v.Config["secret"] != nil {
		v.Config["secret"] = true // as a server shows a password
	}
	k.objects[path] = v
	k.etags[path]++
}

func (k *keeper) answer(w http.ResponseWriter, r api.Response) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(max(r.StatusCode, r.ErrorCode))
	_ = json.NewEncoder(w).Encode(r)
}

// kinds are one object of each kind.
var kinds = []string{"/1.0", "/1.0/storage-pools/x", "/1.0/projects/x", "/1.0/networks/x", "/1.0/profiles/x"}

// all sets keys in an object of each kind, and then asks for a profile that the server refuses.
const all = `
config: {mine: 1, contested: 1, old: 2}
storage_pools:
- {name: x, config: {mine: 1, contested: 1, old: 2}, description: mine}
projects:
- {name: x, config: {mine: 1, contested: 1, old: 2}, description: mine}
networks:
- {name: x, config: {mine: 1, contested: 1, old: 2}, description: mine}
profiles:
- {name: x, config: {mine: 1, contested: 1, old: 2}, description: mine, devices: {mine: {type: none}, contested: {type: none}}}
- {name: refused}
`

func apply(t *testing.T, c *client.Client, preseed string) error {
	t.Helper()
	p, err := Parse([]byte(preseed))
	if err != nil {
		t.Fatal(err)
	}
	return Apply(c, p)
}

// refuses has a server refuse the last profile, while somebody else does something.
func (k *keeper) refuses(meanwhile func()) {
	k.before = func(request string) error {
		if request != "POST /1.0/profiles" {
			return nil
		}
		meanwhile()
		return fmt.Errorf("refused")
	}
}

// TestAnUndoLeavesWhatOthersSet: all that was set since the preseed began went back with it, whoever had set it.
func TestAnUndoLeavesWhatOthersSet(t *testing.T) {
	k, c := newKeeper(t, kinds...)
	k.refuses(func() {
		for _, path := range kinds {
			k.set(path, "theirs", "1")
			k.set(path, "contested", "2")
		}
		k.objects["/1.0/profiles/x"].Devices["theirs"] = map[string]string{"type": "nic"}
		k.objects["/1.0/profiles/x"].Devices["contested"]["key"] = "theirs"
	})
	if err := apply(t, c, all); err == nil || strings.Contains(err.Error(), "undo") {
		t.Errorf("got %v", err)
	}
	for _, path := range kinds {
		want := values{Config: map[string]any{"old": "1", "theirs": "1", "contested": "2"}}
		if path == "/1.0/profiles/x" {
			want.Devices = map[string]map[string]string{"theirs": {"type": "nic"}, "contested": {"type": "none", "key": "theirs"}}
		}
		if diff := cmp.Diff(want, k.objects[path]); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
}

// TestAnUndoTakesBackWhatNobodyTouched: and nothing of it is left.
func TestAnUndoTakesBackWhatNobodyTouched(t *testing.T) {
	k, c := newKeeper(t, kinds...)
	k.refuses(func() {})
	if err := apply(t, c, all); err == nil || strings.Contains(err.Error(), "undo") {
		t.Errorf("got %v", err)
	}
	for _, path := range kinds {
		if got := k.objects[path]; got.Description != "" || len(got.Devices) > 0 || !maps.Equal(got.Config, map[string]any{"old": "1"}) {
			t.Errorf("%s: %v", path, got)
		}
	}
}

// TestAWriteThatIsRefusedIsNotUndone: somebody else was first, and lost what they had set by an undo of what was never done.
func TestAWriteThatIsRefusedIsNotUndone(t *testing.T) {
	for _, path := range kinds {
		k, c := newKeeper(t, kinds...)
		k.before = func(request string) error {
			if request == "PUT "+path && k.objects[path].Config["theirs"] == nil {
				k.set(path, "theirs", "1")
			}
			return nil
		}
		if err := apply(t, c, all); api.StatusOf(err) != http.StatusPreconditionFailed {
			t.Errorf("%s: %v", path, err)
		}
		if got := k.objects[path].Config; !maps.Equal(got, map[string]any{"old": "1", "theirs": "1"}) {
			t.Errorf("%s: %v", path, got)
		}
		if n := strings.Count(strings.Join(k.log, "\n")+"\n", "PUT "+path+"\n"); n != 1 {
			t.Errorf("%s: written %d times", path, n)
		}
	}
}

// TestAnUndoBeginsAgainWhenSomebodyIsFaster: what they write between its look and its write stays.
func TestAnUndoBeginsAgainWhenSomebodyIsFaster(t *testing.T) {
	k, c := newKeeper(t, kinds...)
	left := 3
	k.refuses(func() {
		refuse := k.before
		k.before = func(request string) error {
			if request == "PUT /1.0/networks/x" && left > 0 {
				k.set("/1.0/networks/x", fmt.Sprint("theirs", left), "1")
				left--
			}
			return refuse(request)
		}
	})
	if err := apply(t, c, all); err == nil || strings.Contains(err.Error(), "undo") {
		t.Errorf("got %v", err)
	}
	want := map[string]any{"old": "1", "theirs1": "1", "theirs2": "1", "theirs3": "1"}
	if got := k.objects["/1.0/networks/x"].Config; !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

// TestAnUndoRemovesWhatItsCallMade: but not what is another object by now, or one that others have changed for their use.
func TestAnUndoRemovesWhatItsCallMade(t *testing.T) {
	for _, path := range append([]string{""}, kinds[1:]...) {
		k, c := newKeeper(t, "/1.0")
		k.before = func(request string) error {
			if request != "POST /1.0/profiles" || k.objects["/1.0/profiles/x"].Config == nil {
				return nil
			}
			if path != "" {
				k.set(path, "theirs", "1")
			}
			return fmt.Errorf("refused")
		}
		err := apply(t, c, all)
		left := slices.DeleteFunc(slices.Sorted(maps.Keys(k.objects)), func(p string) bool { return p == "/1.0" })
		if path == "" {
			if err == nil || strings.Contains(err.Error(), "undo") || len(left) > 0 {
				t.Errorf("%v, left %v", err, left)
			}
			// What came last may need what came before.
			want := []string{"DELETE /1.0/profiles/x", "DELETE /1.0/networks/x", "DELETE /1.0/projects/x", "DELETE /1.0/storage-pools/x", "PUT /1.0"}
			if undone := k.log[max(len(k.log)-len(want), 0):]; !slices.Equal(undone, want) {
				t.Errorf("undone by %q, not %q", undone, want)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), `"x" is left: somebody else has changed it since`) || !slices.Equal(left, []string{path}) {
			t.Errorf("%s: %v, left %v", path, err, left)
		}
	}
}

// TestAnUndoOfAPassword: one that was set first is taken away again; what another was is not known.
func TestAnUndoOfAPassword(t *testing.T) {
	const preseed = "config: {secret: sesame}\nprofiles:\n- {name: refused}\n"
	for _, had := range []bool{false, true} {
		k, c := newKeeper(t, "/1.0")
		if had {
			k.objects["/1.0"].Config["secret"] = true
		}
		k.refuses(func() {})
		err := apply(t, c, preseed)
		said := err != nil && strings.Contains(err.Error(), "secret: the server does not tell what it was before")
		if _, is := k.objects["/1.0"].Config["secret"]; err == nil || said != had || is != had {
			t.Errorf("before %v, now %v: %v", had, is, err)
		}
	}
}

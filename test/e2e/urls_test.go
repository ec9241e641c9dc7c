package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestAURLInAListIsThatOfItsObject, also where a name has what URLs give a meaning to: clients take the last element for the name, and fetch
// what the URL leads to.
func TestAURLInAListIsThatOfItsObject(t *testing.T) {
	d := harness.New(t).Pool().Image()
	const odd = "a+b %2F#c?d=e&f"
	d.Berth("init", "bb", "c1")
	d.Berth("snapshot", "c1", "s")
	d.Berth("network", "create", "urls0", "ipv4.address=none", "ipv6.address=none")
	d.Berth("storage", "volume", "create", "default", "v")
	d.Berth("storage", "volume", "snapshot", "default", "v", "s")
	created := func(path, body string) {
		t.Helper()
		if a := call(t, d, "POST", path, body); a.Status != http.StatusCreated {
			t.Errorf("POST %s %s: %d %s", path, body, a.Status, a.Error)
		}
	}
	created("/1.0/profiles", `{"name":"`+odd+`"}`)
	target := strings.Fields(d.Berth("image", "list", "--format=csv", "--columns=F"))[0]
	created("/1.0/images/aliases", `{"name":"x/`+odd+`","target":"`+target+`"}`)
	for list, want := range map[string]string{
		"/1.0/instances": "c1", "/1.0/containers": "c1", "/1.0/instances/c1/snapshots": "s", "/1.0/networks": "urls0", "/1.0/storage-pools": "default",
		"/1.0/storage-pools/default/volumes/custom": "v", "/1.0/storage-pools/default/volumes/custom/v/snapshots": "s", "/1.0/projects": "default",
		"/1.0/profiles": odd, "/1.0/images": target, "/1.0/images/aliases": "x/" + odd,
	} {
		var urls, names []string
		if err := json.Unmarshal(call(t, d, "GET", list, "").Metadata, &urls); err != nil {
			t.Errorf("%s: %v", list, err)
		}
		for _, u := range urls {
			name, err := url.PathUnescape(u[strings.LastIndexByte(u, '/')+1:])
			if err != nil {
				t.Errorf("%s: %s: %v", list, u, err)
			}
			names = append(names, name)
			var object struct{ Name, Fingerprint string }
			a := call(t, d, "GET", u, "")
			if err := json.Unmarshal(a.Metadata, &object); err != nil || a.Status != http.StatusOK ||
				name != object.Fingerprint && !strings.HasSuffix("/"+object.Name, "/"+name) { // a volume's snapshot is called v/s
				t.Errorf("%s: %s leads to %d %+v: %v", list, u, a.Status, object, err)
			}
		}
		if !strings.Contains("\n"+strings.Join(names, "\n")+"\n", "\n"+want+"\n") {
			t.Errorf("%s: there is no %q in %q", list, want, urls)
		}
	}
	d.Berth("storage", "volume", "delete", "default", "v")
	if a := call(t, d, "DELETE", "/1.0/profiles/"+url.PathEscape(odd), ""); a.Status != http.StatusOK {
		t.Errorf("%d %s", a.Status, a.Error)
	}
}

package server

import (
	"strings"
	"testing"

	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/store"
)

func TestNetworksOfTheHostAreShown(t *testing.T) {
	st := store.New(store.NewMemory())
	api := networksAPI{svc: network.New(network.Deps{
		Store: st, Journal: journal.New(st), Events: event.Nobody{}, Dir: t.TempDir(),
	})}
	if err := st.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := testServer(t, root, api.routes()...)
	for _, test := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/1.0/networks", "", 200, `"/1.0/networks/lo"`},
		{"GET", "/1.0/networks?recursion=1", "", 200, `"name":"lo","type":"loopback","used_by":[],"managed":false,"status":"","locations":null`},
		{"GET", "/1.0/networks/lo", "", 200, `"config":{},"description":""`},
		{"GET", "/1.0/networks/lo/state", "", 200, `"type":"loopback","bond":null,"bridge":null,"vlan":null,"ovn":null`},
		{"GET", "/1.0/networks/lo/leases", "", 404, "Failed loading network: Network not found"},
		{"GET", "/1.0/networks/nope", "", 404, "Network not found"},
		{"GET", "/1.0/networks/nope/state", "", 404, `Network interface "nope" not found`},
		{"PUT", "/1.0/networks/lo", "{}", 404, "Failed loading network: Network not found"},
		{"DELETE", "/1.0/networks/lo", "", 404, "Failed loading network: Network not found"},
		{"POST", "/1.0/networks", `{"name":"br0x","type":"foo"}`, 400, "Unknown driver"},
	} {
		status, _, env := call(t, s, test.method, test.path, test.body)
		if status != test.status || !strings.Contains(string(env.Metadata)+env.Error, test.want) {
			t.Errorf("%s %s: %d %s %s", test.method, test.path, status, env.Error, env.Metadata)
		}
	}
}

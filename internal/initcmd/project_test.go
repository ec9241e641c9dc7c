package initcmd

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// asked is a server that notes what it was asked, and in which project: "GET /1.0/networks blue".
func asked(t *testing.T) (requests *[]string, c *client.Client) {
	t.Helper()
	socket, log := filepath.Join(t.TempDir(), "s"), []string{}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	gives := map[string]any{
		"/1.0": api.Server{}, "/1.0/profiles/default": api.Profile{Name: "default"}, "/1.0/networks": []api.Network{{Name: "br0", Type: "bridge", Managed: true}},
		"/1.0/profiles": []api.Profile{{Name: "default"}}, "/1.0/storage-pools": []api.StoragePool{}, "/1.0/projects": []api.Project{},
	}
	server := &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		project := r.URL.Query().Get("project")
		if project == "" {
			project = api.ProjectDefault
		}
		log = append(log, r.Method+" "+r.URL.Path+" "+project)
		answer := api.Response{Type: api.SyncResponse, StatusCode: 200}
		if r.Method == http.MethodGet {
			v, ok := gives[r.URL.Path]
			if !ok {
				answer = api.Response{Type: api.ErrorResponse, ErrorCode: 404, Error: "not found"}
			}
			answer.Metadata, _ = json.Marshal(v)
		}
		_ = json.NewEncoder(w).Encode(answer)
	})}}
	server.Start()
	t.Cleanup(server.Close)
	if c, err = client.ConnectUnix(socket); err != nil {
		t.Fatal(err)
	}
	return &log, c
}

// A server is prepared in its default project, whichever the client stands in; a network of a preseed is in the project that it names.
func TestAPreseedIsOfTheServer(t *testing.T) {
	const preseed = `
networks: [{name: n0, type: bridge, project: default}, {name: n1, type: bridge}, {name: n2, type: bridge, project: red}]
storage_pools: [{name: p, driver: dir}]
profiles: [{name: default, config: {user.a: b}}]
`
	none := Options{NetworkPort: -1, StorageLoop: -1}
	for name, tt := range map[string]struct {
		set    func(*Options)
		asks   []string // among others
		others string   // is asked for in another project
	}{
		"preseed": {func(o *Options) { o.Preseed = true }, []string{"POST /1.0/networks default", "PUT /1.0/profiles/default default"}, "/1.0/networks"},
		"dump":    {func(o *Options) { o.Dump = true }, []string{"GET /1.0/networks default", "GET /1.0/profiles default"}, ""},
		"auto":    {func(o *Options) { o.Auto = true }, []string{"GET /1.0/networks default", "PUT /1.0/profiles/default default"}, ""},
	} {
		requests, c := asked(t)
		o := none
		tt.set(&o)
		var out bytes.Buffer
		in := strings.NewReader(preseed)
		if err := Run(c.UseProject("blue"), &o, in, Ask(in, &out, &out)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range tt.asks {
			if !slices.Contains(*requests, want) {
				t.Errorf("%s: %q is not among %q", name, want, *requests)
			}
		}
		for _, r := range *requests {
			if strings.HasSuffix(r, " blue") || strings.HasSuffix(r, " red") && (tt.others == "" || !strings.Contains(r, tt.others)) {
				t.Errorf("%s: %s", name, r)
			}
		}
		if tt.others != "" && !slices.Contains(*requests, "POST "+tt.others+" red") {
			t.Errorf("%s: nothing is made in the project that is named: %q", name, *requests)
		}
	}
}

package server

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// TestTargetWithoutCluster: what LXD 5.0.2 answered for each route, by target. Empty: it takes no notice.
func TestTargetWithoutCluster(t *testing.T) {
	const unknown = "404 Cluster member not found"
	for call, want := range map[string][2]string{ // of another member, of "none"
		"GET /1.0":                                     {unknown, ""},
		"PATCH /1.0":                                   {unknown, ""},
		"GET /1.0/resources":                           {unknown, ""},
		"GET /1.0/instances":                           {"", ""},
		"GET /1.0/instances/c":                         {"", ""},
		"PATCH /1.0/instances/c":                       {"", ""},
		"POST /1.0/instances":                          {"400 Target only allowed when clustered", "400 Target only allowed when clustered"},
		"POST /1.0/containers":                         {"400 Target only allowed when clustered", "400 Target only allowed when clustered"},
		"POST /1.0/instances/c":                        {"404 Failed to get target node: Cluster member not found", "400 Target node is offline"},
		"POST /1.0/instances/c/snapshots":              {"", ""},
		"GET /1.0/networks":                            {"", ""},
		"GET /1.0/networks/lo":                         {unknown, ""},
		"GET /1.0/networks/lo/state":                   {unknown, ""},
		"POST /1.0/networks":                           {unknown, ""},
		"PATCH /1.0/networks/n":                        {unknown, ""},
		"GET /1.0/storage-pools":                       {"", ""},
		"POST /1.0/storage-pools":                      {unknown, ""},
		"PUT /1.0/storage-pools/p":                     {unknown, ""},
		"GET /1.0/storage-pools/p/resources":           {unknown, ""},
		"GET /1.0/storage-pools/p/volumes":             {unknown, ""},
		"POST /1.0/storage-pools/p/volumes/custom":     {unknown, ""},
		"DELETE /1.0/storage-pools/p/volumes/custom/v": {unknown, ""},
		"GET /1.0/images":                              {"", ""},
		"GET /1.0/profiles":                            {"", ""},
		"GET /1.0/operations":                          {"", ""},
	} {
		for n, target := range []string{"other", standalone, ""} {
			method, path, _ := strings.Cut(call, " ")
			got := ""
			if err := (&Request{Request: httptest.NewRequest(method, path+"?target="+target, nil)}).checkTarget(); err != nil {
				got = fmt.Sprint(api.StatusOf(err), " ", err)
			}
			if target == "" && got != "" || target != "" && got != want[n] {
				t.Errorf("%s?target=%s: %q, want %q", call, target, got, want)
			}
		}
	}
}

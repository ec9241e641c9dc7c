package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// ended answers with an operation that is over.
func ended(w http.ResponseWriter, _ *http.Request, _ []byte) {
	raw, _ := json.Marshal(api.Operation{ID: "1", Status: "Success", StatusCode: api.Success})
	envelope(w, http.StatusAccepted, api.Response{Type: api.AsyncResponse, Operation: "/1.0/operations/1", Metadata: raw})
}

func TestSnapshotsAreNamedBesideTheInstanceOrWithIt(t *testing.T) {
	f := newFake(t)
	f.answers["POST /1.0/instances/c1/snapshots"] = ended
	f.answers["PUT /1.0/instances/c1"] = ended
	for command, want := range map[string]string{
		"snapshot c1":         `POST /1.0/instances/c1/snapshots {"name":""`,
		"snapshot c1 s1":      `POST /1.0/instances/c1/snapshots {"name":"s1"`,
		"snapshot c1/s2":      `POST /1.0/instances/c1/snapshots {"name":"s2"`,
		"snapshot local:c1/t": `POST /1.0/instances/c1/snapshots {"name":"t"`,
		"restore c1 s3":       `"restore":"c1/s3"`,
		"restore c1/s4":       `"restore":"c1/s4"`,
		"restore c1 c2/s5":    `"restore":"c2/s5"`,
	} {
		f.seen = nil
		got := berth("", strings.Fields(command)...)
		if got.code != 0 || !strings.Contains(strings.Join(f.seen, "\n"), want) {
			t.Errorf("%s: %+v, %q", command, got, f.seen)
		}
	}
	for command, want := range map[string]string{
		"snapshot c1/s1 s2": `Error: "c1/s1" names a snapshot already: a second name makes no sense`,
		"restore c1/s1 s2":  `Error: "c1/s1" names a snapshot already: a second name makes no sense`,
		"restore c1":        "Error: Invalid number of arguments",
	} {
		if got := berth("", strings.Fields(command)...); got.code != 1 || got.err != want+"\n" {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/test/harness"
)

// whenRead is a body that does something else at the instant at which its first byte is asked for.
type whenRead struct {
	io.Reader
	first func()
}

func (w *whenRead) Read(b []byte) (int, error) {
	if w.first != nil {
		w.first()
		w.first = nil
	}
	return w.Reader.Read(b)
}

// TestARevisionGoesWithTheRequestDownToTheCommit has somebody else's change come between the beginning of a request, at which an
// object's revision was the right one, and its end. A server that looks at the header alone overwrites that change.
func TestARevisionGoesWithTheRequestDownToTheCommit(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	d.Berth("snapshot", "c1", "s")
	d.Berth("network", "create", "etag0", "ipv4.address=none", "ipv6.address=none")
	d.Berth("storage", "volume", "create", "default", "v")
	d.Berth("storage", "volume", "snapshot", "default", "v", "s")
	var images []string
	if err := json.Unmarshal(call(t, d, "GET", "/1.0/images", "").Metadata, &images); err != nil || len(images) != 1 {
		t.Fatalf("images: %v %v", images, err)
	}
	described := `{"description":"VALUE"}`
	for path, patch := range map[string]string{
		"/1.0":                                        `{"config":{"user.etag":"VALUE"}}`,
		"/1.0/instances/c1":                           described,
		"/1.0/instances/c1/snapshots/s":               `{"expires_at":"VALUE"}`,
		"/1.0/profiles/default":                       described,
		"/1.0/networks/etag0":                         described,
		"/1.0/storage-pools/default":                  described,
		"/1.0/storage-pools/default/volumes/custom/v": described,
		"/1.0/storage-pools/default/volumes/custom/v/snapshots/s": described,
		"/1.0/images/aliases/bb":                                  described,
		images[0]:                                                 `{"properties":{"etag":"VALUE"}}`,
	} {
		theirs, ours := "2091-01-02T03:04:05Z", "2092-01-02T03:04:05Z"
		etag := call(t, d, "GET", path, "").ETag
		change := func() {
			if a := finish(t, d, call(t, d, "PATCH", path, strings.ReplaceAll(patch, "VALUE", theirs), "If-Match", etag)); a.ErrorCode != 0 {
				t.Errorf("%s: a right ETag is refused: %d %s", path, a.ErrorCode, a.Error)
			}
		}
		late := finish(t, d, callLate(t, d, "PATCH", path, strings.ReplaceAll(patch, "VALUE", ours), etag, change))
		if late.ErrorCode != http.StatusPreconditionFailed {
			t.Errorf("%s: a change that comes while another one is on its way gives that %d %q, want 412", path, late.ErrorCode, late.Error)
		}
		if now := string(call(t, d, "GET", path, "").Metadata); !strings.Contains(now, theirs) || strings.Contains(now, ours) {
			t.Errorf("%s: the other client's change is lost: %s", path, now)
		}
	}
	d.Berth("storage", "volume", "delete", "default", "v")
}

// callLate makes a call whose body is sent only once the server asks for it, which it does when it has begun to handle the request;
// before that, it calls between.
func callLate(t *testing.T, d *harness.Daemon, method, path, body, etag string, between func()) answer {
	t.Helper()
	asked := false
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { asked = true }})
	read := &whenRead{Reader: strings.NewReader(body), first: func() {
		if !asked {
			t.Errorf("%s: the server has not asked for the body", path)
		}
		between()
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://berth"+path, read)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("If-Match", etag)
	req.Header.Set("Expect", "100-continue")
	return send(t, d, req)
}

// finish waits for the operation that an answer names, if it names one, and gives its error in the place of the answer's.
func finish(t *testing.T, d *harness.Daemon, a answer) answer {
	t.Helper()
	if a.Status != http.StatusAccepted {
		return a
	}
	var op api.Operation
	if err := json.Unmarshal(call(t, d, "GET", a.Location+"/wait", "").Metadata, &op); err != nil {
		t.Fatal(err)
	}
	a.Error, a.ErrorCode = op.Err, op.ErrCode
	if op.StatusCode == api.Cancelled {
		a.Error, a.ErrorCode = "cancelled", int(api.Cancelled)
	}
	return a
}

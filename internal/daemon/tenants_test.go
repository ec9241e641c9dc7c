package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/event"
	"github.com/berthd/berth/internal/operation"
)

// same fails unless a caller hears the same, but for the names themselves, of what is another's and of what there is not.
func (w *tenants) same(caller, method, path, body, others, absent string) {
	w.t.Helper()
	put := func(s, name string) string { return strings.ReplaceAll(s, "%", name) }
	s1, t1 := w.answer(caller, method, put(path, others), put(body, others))
	s2, t2 := w.answer(caller, method, put(path, absent), put(body, absent))
	if s1 != s2 || strings.ReplaceAll(t1, others, "%") != strings.ReplaceAll(t2, absent, "%") {
		w.t.Errorf("%s: %s %s %s tells what there is:\n%d %s%d %s", caller, method, path, body, s1, t1, s2, t2)
	}
	if s1 < 400 && method != "GET" {
		w.t.Errorf("%s: %s %s %s is done: %d", caller, method, path, body, s1)
	}
}

// TestWhatIsAnothersIsAsWhatThereIsNot, where the matrix does not reach: names in bodies, public routes, prefixes.
func TestWhatIsAnothersIsAsWhatThereIsNot(t *testing.T) {
	w := newTenants(t)
	for _, caller := range []string{"a", "shares"} {
		q := "?project=" + caller
		w.same(caller, "POST", "/1.0/instances"+q, `{"name":"x","source":{"type":"copy","source":"thing","project":"%"}}`, "b", "nope")
		w.same(caller, "POST", "/1.0/storage-pools/pool/volumes/custom"+q, `{"name":"x","source":{"type":"copy","name":"thing","pool":"pool","project":"%"}}`, "b", "nope")
		for _, path := range []string{"images?project=%", "images/aliases?project=%", "images/aliases/thing?project=%", "images/ff?project=%", "operations?project=%", "projects/%/state"} {
			w.same(caller, "GET", "/1.0/"+path, "", "b", "nope")
		}
	}
	w.same("untrusted", "GET", "/1.0/images?project=%", "", "b", "nope")
	w.same("none", "GET", "/1.0/images/ff?project=%", "", "b", "nope")
	w.same("a", "POST", "/1.0/instances/thing?project=a", `{"name":"x","project":"%"}`, "b", "nope")
	w.same("a", "POST", "/1.0/storage-pools/pool/volumes/custom/thing?project=a", `{"name":"x","project":"%"}`, "b", "nope")
	other := w.prints["ab"]
	w.same("a", "GET", "/1.0/certificates/%", "", other[:len(other)-1], strings.Repeat("e", len(other)-1))
	if status, _ := w.answer("ab", "POST", "/1.0/instances/thing?project=a", `{"name":"moved","project":"b"}`); status != http.StatusAccepted {
		t.Errorf("whoever has both projects moves between them: %d", status)
	}
}

// TestWhatTenantsSee: lists, and who uses what, end at the caller's projects.
func TestWhatTenantsSee(t *testing.T) {
	w := newTenants(t)
	for path, want := range map[string]string{
		"/1.0/projects":                    "[/1.0/projects/a]",
		"/1.0/instances?all-projects=true": "[/1.0/instances/thing?project=a]",
		"/1.0/instances?project=a":         "[/1.0/instances/thing?project=a]",
		"/1.0/storage-pools":               "[/1.0/storage-pools/pool]",
		"/1.0/storage-pools/pool/volumes/custom?all-projects=true": "[/1.0/storage-pools/pool/volumes/custom/thing?project=a]",
		"/1.0/certificates": "[/1.0/certificates/" + w.prints["a"] + "]",
		"/1.0/images":       "[]",
	} {
		var got []string
		if w.get("a", path, &got); fmt.Sprint(got) != want {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
		var all []string
		if w.get("full", path, &all); len(all) < len(got) || path != "/1.0/storage-pools" && len(got) > 0 && strings.Contains(path, "all-") && len(all) != 3 {
			t.Errorf("%s: %v of full rights", path, all)
		}
	}
	var full []api.InstanceFull
	if w.get("ab", "/1.0/instances?all-projects=true&recursion=2", &full); len(full) != 2 {
		t.Errorf("%d instances of two projects", len(full))
	}
	var pool api.StoragePool
	if w.get("a", "/1.0/storage-pools/pool", &pool); pool.Config != nil || len(pool.UsedBy) == 0 {
		t.Errorf("pool: %+v", pool)
	}
	for _, u := range pool.UsedBy {
		if !strings.HasSuffix(u, "?project=a") {
			t.Errorf("%s is shown", u)
		}
	}
	var shared api.Profile
	if w.get("shares", "/1.0/profiles/thing?project=shares", &shared); len(shared.UsedBy) != 0 {
		t.Errorf("users of a shared profile: %v", shared.UsedBy)
	}
	var server api.Server
	if w.get("a", "/1.0", &server); server.Auth != "trusted" || server.Config != nil || server.Environment.ServerName == "" {
		t.Errorf("server: %+v", server)
	}
	if w.get("full", "/1.0", &server); server.Config == nil {
		t.Error("the configuration is kept from full rights")
	}
	for _, caller := range []string{"metrics", "untrusted"} {
		var server api.Server
		if w.get(caller, "/1.0", &server); server.Auth != "untrusted" || server.Environment.ServerName != "" {
			t.Errorf("%s: %+v", caller, server)
		}
	}
}

// TestOperationsOfTenants are seen by their project, and their secrets by whoever asked for them.
func TestOperationsOfTenants(t *testing.T) {
	w := newTenants(t)
	begin := func(project string) string {
		o, err := w.d.ops.Start(context.Background(), project, &operation.Task{Class: operation.ClassWebsocket, Metadata: map[string]any{"fds": map[string]string{"0": "s3cret"}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = o.Cancel() })
		return o.ID()
	}
	own, others, servers := begin("a"), begin("b"), begin("")
	for _, method := range []string{"GET", "DELETE"} {
		w.same("a", method, "/1.0/operations/%", "", others, "0123")
		w.same("a", method, "/1.0/operations/%", "", servers, "0123")
	}
	w.same("a", "GET", "/1.0/operations/%/wait?timeout=0", "", others, "0123")
	w.same("none", "GET", "/1.0/operations/%/wait?timeout=0", "", others, "0123")
	w.same("a", "GET", "/1.0/operations/%/websocket?secret=wrong", "", others, "0123")
	if status, text := w.answer("untrusted", "GET", "/1.0/operations/"+others+"/wait?timeout=0&secret=s3cret", ""); status != 200 || strings.Contains(text, "s3cret") {
		t.Errorf("with a secret: %d %s", status, text)
	}
	for caller, want := range map[string]string{"a": own, "ab": own + others, "full": own + others + servers} {
		_, text := w.answer(caller, "GET", "/1.0/operations?recursion=1&all-projects=true", "")
		for _, id := range []string{own, others, servers} {
			if strings.Contains(text, id) != strings.Contains(want, id) {
				t.Errorf("%s sees %s: %v", caller, id, !strings.Contains(want, id))
			}
		}
		if strings.Contains(text, "s3cret") != (caller == "full") {
			t.Errorf("secrets before %s: %s", caller, text)
		}
	}
	if status, _ := w.answer("a", "DELETE", "/1.0/operations/"+own, ""); status != 200 {
		t.Errorf("an operation of the own project cannot be cancelled: %d", status)
	}
}

// TestARestrictedHolderAddsNobody, and changes nothing of its certificate but the certificate.
func TestARestrictedHolderAddsNobody(t *testing.T) {
	w := newTenants(t)
	for _, body := range []string{`{"type":"client","certificate":"xx"}`, `{"type":"client","token":true,"name":"x"}`} {
		if status, text := w.answer("a", "POST", "/1.0/certificates", body); status != 403 || !strings.Contains(text, refusal) {
			t.Errorf("%s: %d %s", body, status, text)
		}
	}
	if status, text := w.answer("a", "POST", "/1.0/certificates", `{"type":"client"}`); status != 400 || !strings.Contains(text, "Client is already trusted") {
		t.Errorf("%d %s", status, text)
	}
	if status, text := w.answer("metrics", "POST", "/1.0/certificates", `{"type":"client"}`); status != 403 {
		t.Errorf("metrics: %d %s", status, text)
	}
	own := "/1.0/certificates/" + w.prints["a"]
	for _, body := range []string{`{"restricted":false}`, `{"projects":["b"]}`, `{"name":"root"}`, `{"type":"metrics"}`} {
		if status, text := w.answer("a", "PATCH", own, body); status != 403 || !strings.Contains(text, "can be changed") && !strings.Contains(text, "cannot be changed") {
			t.Errorf("%s: %d %s", body, status, text)
		}
		if c, _ := w.d.certs.Trusted(w.shown["a"]); !c.Restricted || fmt.Sprint(c.Projects) != "[a]" || c.Name != "a" {
			t.Fatalf("%s: refused, and yet %+v", body, c)
		}
	}
	if status, text := w.answer("a", "GET", own[:len(own)-50], ""); status != 200 {
		t.Errorf("the own certificate by the beginning of its fingerprint: %d %s", status, text)
	}
}

// TestEventsOfTenants: what a listener hears ends at the caller's projects; the daemon's log and secrets are not for tenants.
func TestEventsOfTenants(t *testing.T) {
	hub := event.NewHub()
	all := map[string]bool{event.TypeLifecycle: true, event.TypeOperation: true}
	tenant := hub.Listen(event.Filter{Types: all, Projects: true, Sees: func(p string) bool { return p == "a" }})
	admin := hub.Listen(event.Filter{Types: all, Projects: true})
	op := api.Operation{ID: "x", Metadata: map[string]any{"fds": map[string]string{"0": "s3cret"}, "command": "ls"}}
	hub.Operation("b", op)
	hub.Lifecycle(context.Background(), "", "config-updated", "/1.0", nil)
	hub.Operation("a", op)
	heard := func(l *event.Listener) string {
		select {
		case e := <-l.Events():
			return string(e)
		default:
			return ""
		}
	}
	if e := heard(tenant); !strings.Contains(e, `"project":"a"`) || strings.Contains(e, "s3cret") || !strings.Contains(e, `"command":"ls"`) {
		t.Errorf("tenant: %s", e)
	}
	if e := heard(tenant); e != "" {
		t.Errorf("tenant: %s", e)
	}
	for n := range 3 {
		if e := heard(admin); e == "" || n != 1 && !strings.Contains(e, "s3cret") {
			t.Errorf("admin: %s", e)
		}
	}

	w := newTenants(t)
	for path, want := range map[string]int{
		"/1.0/events?project=a": 400, "/1.0/events?project=b": 403, "/1.0/events": 403, "/1.0/events?all-projects=true": 400,
		"/1.0/events?project=a&type=logging": 403,
	} { // 400: it is no websocket
		if status, text := w.answer("a", "GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
}

// TestWhatASecretOpensEndsWithItsOwner: whoever has it connects without a certificate.
func TestWhatASecretOpensEndsWithItsOwner(t *testing.T) {
	w := newTenants(t)
	var op struct{ Metadata api.Operation }
	status, text := w.answer("a", "POST", "/1.0/images?project=a", `{"source":{"type":"container","name":"thing"},"compression_algorithm":"none"}`)
	if err := json.Unmarshal([]byte(text), &op); err != nil || status != 202 {
		t.Fatalf("%d %s %v", status, text, err)
	}
	w.answer("full", "GET", "/1.0/operations/"+op.Metadata.ID+"/wait?timeout=60", "")
	var images []api.Image
	if w.get("a", "/1.0/images?project=a&recursion=1", &images); len(images) != 1 {
		t.Fatalf("%+v", images)
	}
	one := "/1.0/images/" + images[0].Fingerprint
	status, text = w.answer("a", "POST", one+"/secret?project=a", "")
	if err := json.Unmarshal([]byte(text), &op); err != nil || status != 202 {
		t.Fatalf("%d %s %v", status, text, err)
	}
	shown := one + "?project=a&secret=" + fmt.Sprint(op.Metadata.Metadata["secret"])
	if status, text := w.answer("none", "GET", shown, ""); status != 200 {
		t.Errorf("by its secret: %d %s", status, text)
	}
	w.must("PATCH", "/1.0/certificates/"+w.prints["a"], `{"projects":["b"]}`)
	if o, err := w.d.ops.Get(op.Metadata.ID); err == nil {
		<-o.Done()
	}
	if status, text := w.answer("none", "GET", shown, ""); status != 404 {
		t.Errorf("by the secret of one who may not use the project any more: %d %s", status, text)
	}
}

// TestWhatIsSharedTellsNobodyOfAProject: to whoever may not see a project, one that shares images is as one that there is not.
func TestWhatIsSharedTellsNobodyOfAProject(t *testing.T) {
	w := newTenants(t)
	for _, path := range []string{"/1.0/images?project=%s", "/1.0/images?project=%s&recursion=1", "/1.0/images/aliases?project=%s", "/1.0/images/aliases/bb?project=%s", "/1.0/images/0123?project=%s"} {
		for _, caller := range []string{"none", "untrusted", "a"} {
			shared, text := w.answer(caller, "GET", fmt.Sprintf(path, "shares"), "")
			absent, other := w.answer(caller, "GET", fmt.Sprintf(path, "absent"), "")
			if shared != absent || text != other {
				t.Errorf("%s of %s: %d %s, absent %d %s", path, caller, shared, text, absent, other)
			}
		}
	}
}

// TestRequestsEndWithTheRightsOfTheirCaller: what waits hears no more once its caller may do less, whoever changed that; more rights end nothing.
func TestRequestsEndWithTheRightsOfTheirCaller(t *testing.T) {
	w := newTenants(t)
	o, err := w.d.ops.Start(context.Background(), "a", &operation.Task{Class: operation.ClassToken})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Cancel() })
	wait := func(caller string) chan int {
		ended := make(chan int, 1)
		began := w.d.server.Sessions()
		go func() {
			status, _ := w.answer(caller, "GET", "/1.0/operations/"+o.ID()+"/wait", "")
			ended <- status
		}()
		for w.d.server.Sessions() == began {
			runtime.Gosched()
		}
		return ended
	}
	a, ab, full := wait("a"), wait("ab"), wait("full")
	w.must("PATCH", "/1.0/certificates/"+w.prints["a"], `{"projects":["a","b"]}`)
	w.must("PATCH", "/1.0/certificates/"+w.prints["ab"], `{"projects":["b"]}`)
	end := func(c chan int) bool {
		select {
		case <-c:
			return true
		case <-time.After(30 * time.Second):
			return false
		}
	}
	if !end(ab) {
		t.Error("a request goes on without its project")
	}
	w.must("DELETE", "/1.0/certificates/"+w.prints["full"], "")
	if !end(full) {
		t.Error("a request goes on without its certificate")
	}
	select {
	case <-a:
		t.Error("more rights end a request")
	default:
	}
}

// TestAProfilesChangeTellsNothingOfOtherProjects that share it: why it cannot be made is kept from whoever does not see the instance.
func TestAProfilesChangeTellsNothingOfOtherProjects(t *testing.T) {
	w := newTenants(t)
	w.trust("home", `"restricted":true,"projects":["default"]`)
	w.must("POST", "/1.0/profiles", `{"name":"common","config":{"limits.processes":"5"},"devices":{"root":{"type":"disk","path":"/","pool":"pool"}}}`)
	w.must("POST", "/1.0/instances?project=shares", `{"name":"hidden","source":{"type":"none"},"profiles":["common"]}`)
	w.must("PATCH", "/1.0/projects/shares", `{"config":{"limits.processes":"10"}}`)
	for _, body := range []string{`{"config":{"limits.processes":"100"}}`, `{"config":{"limits.processes":""}}`, `{"devices":{"root":{"type":"none"}}}`} {
		full, why := w.answer("full", "PATCH", "/1.0/profiles/common", body)
		got, text := w.answer("home", "PATCH", "/1.0/profiles/common", body)
		if got < 400 || got != full || strings.Contains(text, "hidden") || strings.Contains(text, "shares") || !strings.Contains(text, "instance of another project cannot follow") {
			t.Errorf("%s: %d %s, of full rights %d %s", body, got, text, full, why)
		}
	}
}

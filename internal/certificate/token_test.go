package certificate

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// issue makes a token, as its maker would hand it on.
func issue(t *testing.T, s *Service, req api.CertificatesPost) (*operation.Task, string) {
	t.Helper()
	req.Token, req.Type = true, "client"
	task, err := s.IssueToken(as(true), req)
	if err != nil {
		t.Fatal(err)
	}
	return task, tokenOf(task)
}

func tokenOf(task *operation.Task) string {
	token := api.CertificateAddToken{
		ClientName: task.Metadata["request"].(api.CertificatesPost).Name, Fingerprint: task.Metadata["fingerprint"].(string),
		Addresses: task.Metadata["addresses"].([]string), Secret: task.Metadata["secret"].(string),
	}
	token.ExpiresAt, _ = task.Metadata["expiresAt"].(time.Time)
	return token.String()
}

func TestATokenLetsOneClientIn(t *testing.T) {
	s := newService(t)
	var retired []string
	s.Tokens.Retire = func(id string) { retired = append(retired, id) }
	req := api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "joiner", Restricted: true, Projects: []string{"a", "b"}}}
	task, token := issue(t, s, req)
	for _, row := range s.tokens.List() {
		if secret := task.Metadata["secret"].(string); strings.Contains(strings.Join(row.Path, " "), secret) {
			t.Error("the store has the secret")
		}
	}
	mine := newCert(t, "me", time.Hour)
	expired := newCert(t, "old", -time.Minute)
	for _, tt := range []struct {
		what, password string
		status         int
	}{
		{"a token with another secret", api.CertificateAddToken{ClientName: "joiner", Fingerprint: s.Tokens.Fingerprint, Addresses: []string{"h:1"}, Secret: "x"}.String(), 403},
		{"nothing", "", 403},
		{"the bare secret", task.Metadata["secret"].(string), 403},
	} {
		if _, err := s.Add(as(false), post("client", tt.password, ""), mine); api.StatusOf(err) != tt.status {
			t.Errorf("%s: %v", tt.what, err)
		}
	}
	// Who cannot get in for another reason has not used it up.
	if _, err := s.Add(as(false), post("client", token, ""), nil); api.StatusOf(err) != 400 {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := s.Add(as(false), post("client", token, ""), expired); api.StatusOf(err) != 400 {
		t.Errorf("with one out of date: %v", err)
	}
	own := post("metrics", token, "")
	own.Name, own.Restricted, own.Projects = "other", false, []string{}
	fingerprint, err := s.Add(as(false), own, mine)
	if err != nil {
		t.Fatal(err)
	}
	if c, _, err := s.Get(as(true), fingerprint); err != nil || c.Name != "joiner" || c.Type != "client" || !c.Restricted || !slices.Equal(c.Projects, []string{"a", "b"}) {
		t.Errorf("%+v %v: what is said of a client is in the token, not what it says of itself", c, err)
	}
	if !slices.Equal(retired, []string{task.ID}) || s.CheckToken(task.ID) {
		t.Errorf("ended: %q", retired)
	}
	if _, err := s.Add(as(false), post("client", token, ""), newCert(t, "second", time.Hour)); !errors.Is(err, errNoToken) {
		t.Errorf("used twice: %v", err)
	}
	if err := s.RevokeToken(t.Context(), task.ID); !api.IsNotFound(err) {
		t.Errorf("revoked though it was used: %v", err)
	}
}

func TestOfManyWithOneTokenOneGetsIn(t *testing.T) {
	s := newService(t)
	_, token := issue(t, s, api.CertificatesPost{})
	results := make(chan error, 8)
	for range cap(results) {
		cert := newCert(t, "c", time.Hour)
		go func() {
			_, err := s.Add(as(false), post("client", token, ""), cert)
			results <- err
		}()
	}
	in := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			in++
		case !errors.Is(err, errNoToken):
			t.Error(err)
		}
	}
	if in != 1 || len(s.List(as(true), nil)) != 1 {
		t.Errorf("%d got in, %d are trusted", in, len(s.List(as(true), nil)))
	}
}

func TestATokenIsUsedOrRevokedButNotBoth(t *testing.T) {
	for range 20 {
		s := newService(t)
		task, token := issue(t, s, api.CertificatesPost{})
		cert := newCert(t, "c", time.Hour)
		var used, revoked error
		var both sync.WaitGroup
		both.Go(func() { _, used = s.Add(as(false), post("client", token, ""), cert) })
		both.Go(func() { revoked = task.Revoke(context.Background()) })
		both.Wait()
		if (used == nil) == (revoked == nil) {
			t.Fatalf("used: %v, revoked: %v", used, revoked)
		}
		if _, ok := s.Trusted(cert); ok != (used == nil) {
			t.Fatalf("used: %v, trusted: %v", used, ok)
		}
	}
}

func TestWhatATokenIsNotMadeFor(t *testing.T) {
	s := newService(t)
	for name, tt := range map[string]struct {
		req    api.CertificatesPost
		status int
	}{
		"metrics":                  {api.CertificatesPost{CertificatePut: api.CertificatePut{Type: "metrics"}}, 400},
		"no type":                  {api.CertificatesPost{}, 400},
		"a certificate":            {api.CertificatesPost{CertificatePut: api.CertificatePut{Type: "client", Certificate: "x"}}, 400},
		"a project there is not":   {api.CertificatesPost{CertificatePut: api.CertificatePut{Type: "client", Projects: []string{"a", "c"}}}, 404},
		"one that is for projects": {api.CertificatesPost{CertificatePut: api.CertificatePut{Type: "client", Restricted: true, Projects: []string{"a"}}}, 0},
	} {
		if _, err := s.IssueToken(as(true), tt.req); err == nil && tt.status != 0 || err != nil && api.StatusOf(err) != tt.status {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.Tokens.Addresses = func() []string { return nil }
	if _, err := s.IssueToken(as(true), post("client", "", "")); api.StatusOf(err) != 400 {
		t.Errorf("of a server that nobody reaches: %v", err)
	}
	if n := s.Projects.(*fakeProjects).held.Load(); n != 0 {
		t.Errorf("%d projects are still held", n)
	}
}

func TestATokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.Tokens.Expires = func(now time.Time) time.Time { return now.Add(time.Hour) }
		ops := operation.NewManager(nil)
		task, token := issue(t, s, api.CertificatesPost{})
		o, err := ops.Start(t.Context(), "", task)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if o.Status() != api.Running || !s.CheckToken(task.ID) {
			t.Errorf("it ended early: %v", o.Snapshot())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if o.Status() != api.Failure || o.Err().Error() != "Token has expired" || s.CheckToken(task.ID) {
			t.Errorf("it goes on: %+v", o.Snapshot())
		}
		if _, err := s.Add(as(false), post("client", token, ""), newCert(t, "c", time.Hour)); !errors.Is(err, errExpired) {
			t.Errorf("%v", err)
		}
		if err := ops.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestTokensOutliveTheDaemon, and its end is none of theirs.
func TestTokensOutliveTheDaemon(t *testing.T) {
	engine := store.NewMemory()
	s := load(t, engine, &fakeProjects{})
	ops := operation.NewManager(nil)
	kept, token := issue(t, s, api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "kept"}})
	revoked, _ := issue(t, s, api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "revoked"}})
	s.Tokens.Expires = func(now time.Time) time.Time { return now.Add(time.Millisecond) }
	expired, _ := issue(t, s, api.CertificatesPost{CertificatePut: api.CertificatePut{Name: "expired"}})
	for _, task := range []*operation.Task{kept, revoked} {
		if _, err := ops.Start(t.Context(), "", task); err != nil {
			t.Fatal(err)
		}
	}
	o, err := ops.Get(revoked.ID)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Cancel(); err != nil {
		t.Fatal(err)
	}
	if err := ops.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for time.Now().Before(expired.Metadata["expiresAt"].(time.Time)) {
		runtime.Gosched()
	}

	next := load(t, engine, &fakeProjects{})
	tasks, err := next.OpenTokens(t.Context())
	if err != nil || len(tasks) != 1 {
		t.Fatalf("%d tokens, %v", len(tasks), err)
	}
	if again := tasks[0]; again.ID != kept.ID || !again.Created.Equal(kept.Created) || tokenOf(again) != token {
		t.Errorf("%+v was %+v", again, kept)
	}
	if next.CheckToken(expired.ID) {
		t.Error("what has expired is kept")
	}
	if _, err := next.Add(as(false), post("client", token, ""), newCert(t, "c", time.Hour)); err != nil {
		t.Error(err)
	}
	issue(t, next, api.CertificatesPost{})
	next.Tokens.Secret = func(id string) (string, error) { return "by another key: " + id, nil }
	if tasks, err := next.OpenTokens(t.Context()); err != nil || len(tasks) != 0 || next.tokens.Len() != 0 {
		t.Errorf("another key: %d tokens shown, %d kept, %v", len(tasks), next.tokens.Len(), err)
	}
}

package server

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/store"
)

// MaxBody is the size in bytes of the longest JSON body that is read.
const MaxBody = 4 << 20

// Request is one call of the API.
type Request struct {
	*http.Request
	server *Server
	caller request.Caller
	// session is that of a caller over the network.
	session *session
	vars    map[string]string
	query   url.Values // parsed when it is first asked for
	writer  http.ResponseWriter
}

// Var returns a variable of the path, unescaped; "" if the route has none of that name.
func (r *Request) Var(name string) string { return r.vars[name] }

// Query returns the first value of a key of the query.
func (r *Request) Query(name string) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	if r.query == nil {
		r.query = r.URL.Query()
	}
	return r.query.Get(name)
}

// Project is the project the call is about.
func (r *Request) Project() string {
	if p := r.Query("project"); p != "" {
		return p
	}
	return api.ProjectDefault
}

// AllProjects tells whether the call is about every project.
func (r *Request) AllProjects() bool { return isTrue(r.Query("all-projects")) }

// Recursion is how deep a list goes: 0 for URLs, 1 for objects, 2 for objects with all that belongs to them.
func (r *Request) Recursion() int {
	n, err := strconv.Atoi(r.Query("recursion"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// Decode reads the body, one JSON value of at most MaxBody bytes, into v. Fields that v does not have are ignored.
func (r *Request) Decode(v any) error {
	limited := http.MaxBytesReader(r.writer, r.Body, MaxBody)
	dec := json.NewDecoder(limited)
	if err := dec.Decode(v); err != nil {
		var tooBig *http.MaxBytesError
		if errors.As(err, &tooBig) {
			return api.Errorf(http.StatusRequestEntityTooLarge, "request body is larger than %d bytes", tooBig.Limit)
		}
		return api.BadRequest("%w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return api.BadRequest("request body holds more than one JSON value")
	}
	return nil
}

// IfMatch fails with 412 if the caller expects another version of the object than the one with this ETag.
func (r *Request) IfMatch(etag string) error {
	etag = r.server.shownETag(etag)
	want := r.Header.Get("If-Match")
	if want == "" || want == "*" || strings.Trim(want, `"`) == etag {
		return nil
	}
	return api.PreconditionFailed("ETag doesn't match: %s vs %s", etag, strings.Trim(want, `"`))
}

// Trusted tells whether the caller may do more than look at what is public.
func (r *Request) Trusted() bool { return r.caller.Trusted }

// Caller is who makes the request.
func (r *Request) Caller() request.Caller { return r.caller }

// ETag is the version of an object that was written at rev, for SyncETag and IfMatch. Callers see it as shownETag makes it.
func ETag(rev store.Revision) string { return strconv.FormatUint(uint64(rev), 10) }

// shownETag is a version as callers see it. The store has one revision for all that it holds: from a plain number everybody could read off how much
// everybody else changes, and when.
func (s *Server) shownETag(version string) string {
	if s == nil || len(s.services.ETagKey) == 0 { // only in tests
		return version
	}
	mac := hmac.New(sha256.New, s.services.ETagKey)
	mac.Write([]byte(version))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

func isTrue(s string) bool {
	switch strings.ToLower(s) {
	case "true", "1", "yes", "on":
		return true
	}
	return false
}

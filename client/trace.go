package client

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"time"
)

// Trace is told of every request and answer. Bodies are JSON with secrets masked; what is no JSON, such as files, is not shown (nil).
type Trace struct {
	Request func(method, url string, body []byte)
	// Answer has the status such as "200 OK", and how long it took to come.
	Answer func(method, url, status string, took time.Duration, body []byte)
}

// WithTrace returns a client for the same server whose requests are traced.
func (c *Client) WithTrace(t *Trace) *Client {
	copied := *c
	copied.trace = t
	return &copied
}

// masked is what stands for a secret.
const masked = "MASKED"

// secretKeys are names of values that must not be seen by whoever is shown a trace: of passwords, of tokens, of the secrets that open
// websockets ("fds") and images.
var secretKeys = regexp.MustCompile(`(?i)password|secret|token|private|^fds$|\.key$`)

// urlPassword is the password in a URL, wherever one stands in a text.
var urlPassword = regexp.MustCompile(`(://[^/@\s:"]*):[^/@\s"]+@`)

// maskJSON masks secrets in a JSON text; nil where it is none.
func maskJSON(text []byte) []byte {
	var v any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil
	}
	out, err := json.Marshal(mask(v, false))
	if err != nil {
		return nil
	}
	return out
}

func mask(v any, secret bool) any {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			v[key] = mask(value, secret || secretKeys.MatchString(key))
		}
	case []any:
		for i, value := range v {
			v[i] = mask(value, secret)
		}
	case string:
		if secret && v != "" {
			return masked
		}
		return urlPassword.ReplaceAllString(v, "${1}:"+masked+"@")
	}
	return v
}

// maskURL masks the secret in a query.
func maskURL(u *url.URL) string {
	query := u.Query()
	for key := range query {
		if secretKeys.MatchString(key) {
			query.Set(key, masked)
		}
	}
	if len(query) == 0 {
		return u.String()
	}
	shown := *u
	shown.RawQuery = query.Encode()
	return shown.String()
}

// do sends a request, and tells of it where that is wanted.
func (c *Client) do(req *http.Request, body []byte) (*http.Response, error) {
	if c.trace == nil {
		return c.conn.http.Do(req)
	}
	shown := maskURL(req.URL)
	c.trace.Request(req.Method, shown, maskJSON(body))
	start := time.Now()
	resp, err := c.conn.http.Do(req)
	if err != nil {
		c.trace.Answer(req.Method, shown, err.Error(), time.Since(start), nil)
		return nil, err
	}
	var text []byte
	if kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && kind == "application/json" {
		// Read here, and read again by whoever decodes it.
		text, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(text), failing{err}), resp.Body}
	}
	c.trace.Answer(req.Method, shown, resp.Status, time.Since(start), maskJSON(text))
	return resp, nil
}

// failing is the end of a body that could not be read to its end; with no error it is the end.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return 0, io.EOF
}

// Package client talks to a Berth (or LXD) daemon over its REST API.
//
// Connect with ConnectUnix or ConnectHTTPS, then call the typed methods, one file per resource. A getter returns
// the value and, where the API has one, its ETag; the matching update takes that ETag and fails with status 412
// when somebody else was faster. Long work comes back as an *Operation. Errors from the daemon are *api.Error
// with the status it gave.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"github.com/berthd/berth/api"
)

// maxAnswer bounds the JSON answers that are read into memory (bytes).
const maxAnswer = 256 << 20

// Client is a connection to one daemon, for one project and cluster member. It is safe for concurrent use.
type Client struct {
	conn    *connection
	ctx     context.Context
	project string
	target  string
	trace   *Trace // may be nil
}

// connection is what copies of a Client made by UseProject and others share.
type connection struct {
	http      *http.Client
	ws        *websocket.Dialer
	base      string // scheme and host, no slash at the end
	origin    string // what users call this server, for messages
	userAgent string
	unix      bool
	cert      string // the server's certificate (PEM), empty on a unix socket
}

// UseProject returns a client for the same server whose requests are about the given project.
func (c *Client) UseProject(name string) *Client {
	copied := *c
	copied.project = name
	return &copied
}

// UseTarget returns a client for the same server whose requests are about the given cluster member.
func (c *Client) UseTarget(member string) *Client {
	copied := *c
	copied.target = member
	return &copied
}

// WithContext returns a client whose requests end when ctx does.
func (c *Client) WithContext(ctx context.Context) *Client {
	copied := *c
	copied.ctx = ctx
	return &copied
}

// Project is the project given with UseProject, or empty.
func (c *Client) Project() string { return c.project }

// URL is the address of the server, such as https://10.0.0.1:8443 or unix:///run/unix.socket.
func (c *Client) URL() string { return c.conn.origin }

// IsUnix tells whether the client talks over a unix socket.
func (c *Client) IsUnix() bool { return c.conn.unix }

// ServerCertificate is the certificate (PEM) that the server showed, empty on a unix socket.
func (c *Client) ServerCertificate() string { return c.conn.cert }

// pathOf joins escaped elements behind /1.0.
func pathOf(elements ...string) string {
	var b strings.Builder
	b.WriteString("/1.0")
	for _, e := range elements {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}

// scoped adds the project and the cluster member to a path.
func (c *Client) scoped(path string) string {
	base, raw, _ := strings.Cut(path, "?")
	values, err := url.ParseQuery(raw)
	if err != nil {
		return path
	}
	if c.project != "" && !values.Has("project") && !values.Has("all-projects") {
		values.Set("project", c.project)
	}
	if c.target != "" && !values.Has("target") {
		values.Set("target", c.target)
	}
	if len(values) == 0 {
		return base
	}
	return base + "?" + values.Encode()
}

// request sends one request to path as it is. The body is an io.Reader, or anything that becomes JSON.
func (c *Client) request(method, path string, body any, header http.Header) (*http.Response, error) {
	var reader io.Reader
	contentType := ""
	var sent []byte // of a body that is JSON
	switch b := body.(type) {
	case nil:
	case io.Reader:
		reader = b
		contentType = "application/octet-stream"
	default:
		data, err := json.Marshal(b)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		reader, sent = bytes.NewReader(data), data
		contentType = "application/json"
	}
	req, err := http.NewRequestWithContext(c.ctx, method, c.conn.base+path, reader)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if c.conn.userAgent != "" {
		req.Header.Set("User-Agent", c.conn.userAgent)
	}
	resp, err := c.do(req, sent)
	if err != nil {
		return nil, err // of net/http: it names the call
	}
	return resp, nil
}

// decode reads the envelope and turns an error in it into an *api.Error.
func decode(resp *http.Response) (*api.Response, error) {
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if len(data) > maxAnswer {
		return nil, errors.New("answer is too large")
	}
	var out api.Response
	if err := json.Unmarshal(data, &out); err != nil {
		if resp.StatusCode != http.StatusOK {
			return nil, api.Errorf(resp.StatusCode, "Failed to fetch %s: %s", resp.Request.URL, resp.Status)
		}
		return nil, fmt.Errorf("decode answer: %w", err)
	}
	if out.Type == api.ErrorResponse {
		status := out.ErrorCode
		if status == 0 {
			status = resp.StatusCode
		}
		return nil, api.Errorf(status, "%s", out.Error)
	}
	return &out, nil
}

// Do sends a request to exactly this path (with its query, without adding a project) and returns the envelope and the ETag. An etag that is
// not empty goes along as If-Match. The body is nil, an io.Reader, or a value to send as JSON.
func (c *Client) Do(method, path string, body any, etag string) (*api.Response, string, error) {
	header := http.Header{}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	resp, err := c.request(method, path, body, header)
	if err != nil {
		return nil, "", err
	}
	out, err := decode(resp)
	if err != nil {
		return nil, "", err
	}
	return out, resp.Header.Get("ETag"), nil
}

// Raw sends a request to exactly this path and returns the answer unread. The caller closes its body.
func (c *Client) Raw(method, path string, body any) (*http.Response, error) {
	return c.request(method, path, body, nil)
}

// Query sends a request for the client's project and decodes the metadata into out (which may be nil).
func (c *Client) Query(method, path string, body any, etag string, out any) (string, error) {
	resp, newTag, err := c.Do(method, c.scoped(path), body, etag)
	if err != nil {
		return "", err
	}
	if out != nil && len(resp.Metadata) > 0 {
		if err := json.Unmarshal(resp.Metadata, out); err != nil {
			return "", fmt.Errorf("decode %s: %w", path, err)
		}
	}
	return newTag, nil
}

// get fetches one value and its ETag.
func get[T any](c *Client, path string) (*T, string, error) {
	var out T
	etag, err := c.Query(http.MethodGet, path, nil, "", &out)
	if err != nil {
		return nil, "", err
	}
	return &out, etag, nil
}

// list fetches a slice.
func list[T any](c *Client, path string) ([]T, error) {
	var out []T
	_, err := c.Query(http.MethodGet, path, nil, "", &out)
	return out, err
}

// names fetches URLs of a collection and keeps the part behind it.
func names(c *Client, path string) ([]string, error) {
	urls, err := list[string](c, path)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(urls))
	for _, u := range urls {
		base, _, _ := strings.Cut(u, "?")
		name, err := url.PathUnescape(base[strings.LastIndexByte(base, '/')+1:])
		if err != nil {
			return nil, fmt.Errorf("unexpected URL %q in %s", u, path)
		}
		out = append(out, name)
	}
	return out, nil
}

// send makes a change that answers at once.
func (c *Client) send(method, path string, body any, etag string) error {
	_, err := c.Query(method, path, body, etag, nil)
	return err
}

// start makes a change that runs in the background.
func (c *Client) start(method, path string, body any, etag string) (*Operation, error) {
	resp, _, err := c.Do(method, c.scoped(path), body, etag)
	if err != nil {
		return nil, err
	}
	return c.operation(resp)
}

// HasExtension tells whether the server announces an API extension.
func (c *Client) HasExtension(name string) bool {
	server, _, err := c.Server()
	if err != nil {
		return false
	}
	for _, e := range server.APIExtensions {
		if e == name {
			return true
		}
	}
	return false
}

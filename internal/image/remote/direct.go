package remote

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/version"
)

// maxRedirects is how many a web server may send before an image. A server that speaks the API has no reason for one.
const maxRedirects = 10

// Direct asks a plain web server about an image and opens it: the server says the image's SHA-256 and its address in the
// headers LXD-Image-Hash and LXD-Image-URL of its answer to HEAD. architectures are the names that run here.
func (c *Client) Direct(ctx context.Context, address string, architectures []string) (body io.ReadCloser, fingerprint string, size int64, err error) {
	header := http.Header{
		"LXD-Server-Architectures": {strings.Join(architectures, ", ")}, // as LXD sends it
		"LXD-Server-Version":       {version.Version},                   // as LXD sends it
	}
	head, err := c.plain(ctx, http.MethodHead, address, header)
	if err != nil {
		return nil, "", 0, err
	}
	_ = head.Body.Close()
	fingerprint, file := head.Header.Get("LXD-Image-Hash"), head.Header.Get("LXD-Image-URL")
	switch {
	case fingerprint == "":
		return nil, "", 0, api.BadRequest("Missing LXD-Image-Hash header")
	case !isFingerprint(fingerprint):
		return nil, "", 0, api.BadRequest("LXD-Image-Hash is not a SHA-256 in lower case")
	case file == "":
		return nil, "", 0, api.BadRequest("Missing LXD-Image-URL header")
	}
	resp, err := c.plain(ctx, http.MethodGet, file, header)
	if err != nil {
		return nil, "", 0, err
	}
	return resp.Body, fingerprint, resp.ContentLength, nil
}

// plain makes a request of a web server; the system's authorities vouch for https. What is not 200 is an error.
func (c *Client) plain(ctx context.Context, method, address string, header http.Header) (*http.Response, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, api.BadRequest("%q is not the URL of an image", address)
	}
	client, err := c.client("", maxRedirects)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, api.BadRequest("%w", err)
	}
	req.Header = header.Clone()
	resp, err := client.Do(req)
	if err != nil {
		return nil, api.BadRequest("Failed to fetch the image: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, api.BadRequest("Failed to fetch the image: %s answers %s", u.Host, resp.Status)
	}
	return resp, nil
}

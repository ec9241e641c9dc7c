// Package remote fetches images from other servers that speak this API.
package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/fetch"
)

// maxAnswer bounds a JSON answer, in bytes.
const maxAnswer = 4 << 20

// Client fetches images. The zero value works; it keeps no connections.
type Client struct {
	// ClientCert, if set, is shown to servers that ask for one.
	ClientCert func() (*tls.Certificate, error)
	// Proxy, if set, says through which proxy a request goes; else the environment does.
	Proxy func(*http.Request) (*url.URL, error)
}

// Describe finds the image that a source names by alias, fingerprint or the start of one.
func (c *Client) Describe(ctx context.Context, src api.ImagesPostSource) (*api.Image, error) {
	target := src.Fingerprint
	if target == "" {
		if src.Alias == "" {
			return nil, api.BadRequest("Must specify one of alias or fingerprint for init from image")
		}
		var alias api.ImageAliasesEntry
		err := c.get(ctx, src, "/1.0/images/aliases/"+url.PathEscape(src.Alias), &alias)
		switch {
		case err == nil:
			target = alias.Target
		case api.IsNotFound(err):
			target = src.Alias // people write either
		default:
			return nil, err
		}
	}
	var img api.Image
	if err := c.get(ctx, src, "/1.0/images/"+url.PathEscape(target), &img); err != nil {
		return nil, err
	}
	if !isFingerprint(img.Fingerprint) {
		return nil, fmt.Errorf("%s describes an image without a proper fingerprint", src.Server)
	}
	return &img, nil
}

func isFingerprint(s string) bool {
	return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == ""
}

// Export opens an image's files as the server sends them.
func (c *Client) Export(ctx context.Context, src api.ImagesPostSource, fingerprint string) (io.ReadCloser, string, error) {
	resp, err := c.do(ctx, src, "/1.0/images/"+url.PathEscape(fingerprint)+"/export")
	if err != nil {
		return nil, "", err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, "", decode(resp, nil)
	}
	return resp.Body, resp.Header.Get("Content-Type"), nil
}

func (c *Client) get(ctx context.Context, src api.ImagesPostSource, path string, v any) error {
	resp, err := c.do(ctx, src, path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return decode(resp, v)
}

func decode(resp *http.Response, v any) error {
	var envelope struct {
		Error    string          `json:"error"`
		Code     int             `json:"error_code"`
		Metadata json.RawMessage `json:"metadata"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&envelope); err != nil {
		return fmt.Errorf("answer of %s: %w", resp.Request.URL.Host, err)
	}
	if resp.StatusCode >= 400 {
		return api.Errorf(resp.StatusCode, "%s", envelope.Error)
	}
	if err := json.Unmarshal(envelope.Metadata, v); err != nil {
		return fmt.Errorf("answer of %s: %w", resp.Request.URL.Host, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, src api.ImagesPostSource, path string) (*http.Response, error) {
	base, err := url.Parse(strings.TrimSuffix(src.Server, "/"))
	if err != nil || base.Scheme != "https" || base.Host == "" || base.RawQuery != "" || base.User != nil || strings.Trim(base.Path, "/") != "" {
		return nil, api.BadRequest("Failed to connect to LXD server %q: not an https URL of a server", src.Server)
	}
	client, err := c.client(src.Certificate, 0)
	if err != nil {
		return nil, err
	}
	query := url.Values{}
	if src.Secret != "" {
		query.Set("secret", src.Secret)
	}
	if src.Project != "" {
		query.Set("project", src.Project)
	}
	address := "https://" + base.Host + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, api.BadRequest("%w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // without the URL, which may hold a secret
		}
		return nil, api.BadRequest("Failed to connect to LXD server %q: %w", src.Server, err)
	}
	return resp, nil
}

// client trusts the one certificate it is given, or without one the system's authorities.
func (c *Client) client(pinned string, redirects int) (*http.Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ClientCert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.ClientCert() }
	}
	if pinned != "" {
		block, _ := pem.Decode([]byte(pinned))
		if block == nil || block.Type != "CERTIFICATE" {
			return nil, api.BadRequest("Invalid server certificate")
		}
		want, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, api.BadRequest("Invalid server certificate: %w", err)
		}
		// The name in a self-signed certificate says nothing: it is this very certificate, or not.
		config.InsecureSkipVerify = true
		config.VerifyConnection = func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 || !state.PeerCertificates[0].Equal(want) {
				return errors.New("the server's certificate is not the expected one")
			}
			return nil
		}
	}
	proxy := c.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	return fetch.Client(fetch.Options{TLS: config, Proxy: proxy, Redirects: redirects}), nil
}

package client

import (
	"encoding/json"
	"net/http"

	"github.com/berthd/berth/api"
)

// Server describes the server as far as the caller is trusted.
func (c *Client) Server() (*api.Server, string, error) {
	return get[api.Server](c, pathOf())
}

// UpdateServer replaces the server's configuration.
func (c *Client) UpdateServer(put api.ServerPut, etag string) error {
	return c.send(http.MethodPut, pathOf(), put, etag)
}

// Resources returns the host's hardware as JSON: it is large, and only shown.
func (c *Client) Resources() (json.RawMessage, error) {
	var out json.RawMessage
	_, err := c.Query(http.MethodGet, pathOf("resources"), nil, "", &out)
	return out, err
}

// Certificates lists the trusted certificates.
func (c *Client) Certificates() ([]api.Certificate, error) {
	return list[api.Certificate](c, pathOf("certificates")+"?recursion=1")
}

// Certificate fetches one trusted certificate by its fingerprint or the start of it.
func (c *Client) Certificate(fingerprint string) (*api.Certificate, string, error) {
	return get[api.Certificate](c, pathOf("certificates", fingerprint))
}

// CreateCertificate asks for a certificate to be trusted.
func (c *Client) CreateCertificate(post api.CertificatesPost) error {
	return c.send(http.MethodPost, pathOf("certificates"), post, "")
}

// CreateCertificateToken asks for a token with which another client can have its certificate trusted.
func (c *Client) CreateCertificateToken(post api.CertificatesPost) (*Operation, error) {
	post.Token = true
	return c.start(http.MethodPost, pathOf("certificates"), post, "")
}

// UpdateCertificate replaces a trusted certificate's properties.
func (c *Client) UpdateCertificate(fingerprint string, put api.CertificatePut, etag string) error {
	return c.send(http.MethodPut, pathOf("certificates", fingerprint), put, etag)
}

// DeleteCertificate ends the trust in a certificate.
func (c *Client) DeleteCertificate(fingerprint string) error {
	return c.send(http.MethodDelete, pathOf("certificates", fingerprint), nil, "")
}

// Warnings lists the warnings.
func (c *Client) Warnings() ([]api.Warning, error) {
	return list[api.Warning](c, pathOf("warnings")+"?recursion=1")
}

// Warning fetches one warning.
func (c *Client) Warning(uuid string) (*api.Warning, string, error) {
	return get[api.Warning](c, pathOf("warnings", uuid))
}

// UpdateWarning changes the status of a warning.
func (c *Client) UpdateWarning(uuid string, put api.WarningPut, etag string) error {
	return c.send(http.MethodPut, pathOf("warnings", uuid), put, etag)
}

// DeleteWarning forgets a warning.
func (c *Client) DeleteWarning(uuid string) error {
	return c.send(http.MethodDelete, pathOf("warnings", uuid), nil, "")
}

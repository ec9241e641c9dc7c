package api

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"
)

// Bounds of a token that is read: it comes from anybody who can reach a server, and from whatever a user pastes.
const (
	maxToken          = 64 << 10 // of its text, in bytes
	maxTokenAddresses = 256
	maxTokenSecret    = 256 // bytes
)

// CertificateAddToken is what a client needs to have its certificate trusted by a server, once. It travels as the base64 of its JSON.
type CertificateAddToken struct {
	ClientName  string    `json:"client_name"`
	Fingerprint string    `json:"fingerprint"` // of the server's certificate: SHA-256 of its DER form, hex
	Addresses   []string  `json:"addresses"`   // host:port, at which the server may be reached
	Secret      string    `json:"secret"`
	ExpiresAt   time.Time `json:"expires_at"` // zero: never
	// Type says what it makes, as far as that is not a certificate of the trust store: an identity of this type.
	Type string `json:"type,omitempty"`
}

// String is the token as users hand it on.
func (t CertificateAddToken) String() string {
	data, err := json.Marshal(t)
	if err != nil { // only for a time beyond the year 9999
		return ""
	}
	return base64.StdEncoding.EncodeToString(data)
}

// ParseCertificateAddToken reads a token.
func ParseCertificateAddToken(text string) (CertificateAddToken, error) {
	var t CertificateAddToken
	if len(text) > maxToken {
		return t, errors.New("token is too long")
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return t, fmt.Errorf("token: %w", err)
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return CertificateAddToken{}, fmt.Errorf("token: %w", err)
	}
	if err := t.check(); err != nil {
		return CertificateAddToken{}, fmt.Errorf("token: %w", err)
	}
	return t, nil
}

func (t CertificateAddToken) check() error {
	if sum, err := hex.DecodeString(t.Fingerprint); err != nil || len(sum) != 32 {
		return errors.New("fingerprint is not a SHA-256 in hex")
	}
	switch {
	case t.Secret == "":
		return errors.New("no secret")
	case len(t.Secret) > maxTokenSecret:
		return errors.New("secret is too long")
	case len(t.Addresses) == 0:
		return errors.New("no address")
	case len(t.Addresses) > maxTokenAddresses:
		return errors.New("too many addresses")
	}
	for _, address := range t.Addresses {
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" || !plain(address) {
			return fmt.Errorf("invalid address %q", address)
		}
	}
	return nil
}

// plain tells whether text has only what an address may have: it goes into a URL, and is shown on a terminal.
func plain(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f || c == '/' || c == '?' || c == '#' || c == '@' || c == '\\' {
			return false
		}
	}
	return true
}

package cliconf

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"os"
	"os/user"
	"path/filepath"
	"time"
)

// certValidity is how long a client certificate lasts: nobody renews it, servers pin it.
const certValidity = 10 * 365 * 24 * time.Hour

// ClientCert returns the client's certificate and key (PEM), made when they are missing and create is set. Both are empty when they are missing and create is not set.
func (c *Conf) ClientCert(create bool) (cert, key string, err error) {
	certPath, keyPath := filepath.Join(c.dir, "client.crt"), filepath.Join(c.dir, "client.key")
	certData, err := os.ReadFile(certPath)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return "", "", nil
		}
		if err := c.makeOneClientCert(certPath, keyPath); err != nil {
			return "", "", fmt.Errorf("make client certificate: %w", err)
		}
		certData, err = os.ReadFile(certPath)
	}
	if err != nil {
		return "", "", err
	}
	keyData, err := os.ReadFile(keyPath)
	if err != nil {
		return "", "", err
	}
	return string(certData), string(keyData), nil
}

// maxAuthority bounds client.ca (bytes).
const maxAuthority = 1 << 20

// Authority is client.ca: the certificates (PEM) of the authority that vouches for servers, in the place of those that the system has. Empty
// where there is none.
func (c *Conf) Authority() (string, error) {
	f, err := os.Open(filepath.Join(c.dir, "client.ca"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAuthority+1))
	switch {
	case err != nil:
		return "", err
	case len(data) > maxAuthority:
		return "", fmt.Errorf("%s is larger than %d bytes", f.Name(), maxAuthority)
	case !x509.NewCertPool().AppendCertsFromPEM(data):
		return "", fmt.Errorf("%s holds no certificate", f.Name())
	}
	return string(data), nil
}

// HasClientCert tells whether a certificate is there.
func (c *Conf) HasClientCert() bool {
	_, err := os.Stat(filepath.Join(c.dir, "client.crt"))
	return err == nil
}

// makeOneClientCert makes a certificate unless another client has just done so: of two, the key of one would stay with the certificate of
// the other.
func (c *Conf) makeOneClientCert(certPath, keyPath string) error {
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if c.HasClientCert() {
		return nil
	}
	return c.makeClientCert(certPath, keyPath)
}

func (c *Conf) makeClientCert(certPath, keyPath string) error {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return err
	}
	name := "UNKNOWN"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Berth"}, CommonName: name},
		NotBefore:             now,
		NotAfter:              now.Add(certValidity),
		KeyUsage:              x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.dir, 0o750); err != nil {
		return err
	}
	if err := writeFile(keyPath, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}), 0o600); err != nil {
		return err
	}
	return writeFile(certPath, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}

// Package servercert keeps the daemon's own certificate: the one that clients remember it by.
package servercert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/berthd/berth/internal/durable"
)

// lifetime of a certificate that nobody renews.
const lifetime = 10 * 365 * 24 * time.Hour

// Cert is the daemon's certificate with its key.
type Cert struct {
	TLS         tls.Certificate
	PEM         string
	Fingerprint string // SHA-256 of the DER form, hex
}

// Load reads server.crt and server.key in dir, or makes both.
func Load(dir string) (*Cert, error) {
	crt, key := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	if err := errors.Join(durable.Sweep(crt), durable.Sweep(key)); err != nil {
		return nil, err
	}
	c, err := read(crt, key)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return c, err
	}
	if err := generate(crt, key); err != nil {
		return nil, fmt.Errorf("make server certificate: %w", err)
	}
	return read(crt, key)
}

// Derive makes a secret of 32 bytes, in hex, that only who has the certificate's key can make: the same for each purpose and name.
func (c *Cert) Derive(purpose, name string) (string, error) {
	key, err := x509.MarshalPKCS8PrivateKey(c.TLS.PrivateKey)
	if err != nil {
		return "", err
	}
	secret, err := hkdf.Key(sha256.New, key, nil, purpose+"\x00"+name, sha256.Size)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(secret), nil
}

func read(crt, key string) (*Cert, error) {
	crtPEM, err := os.ReadFile(crt)
	if err != nil {
		return nil, err
	}
	keyPEM, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(crtPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("server certificate %s: %w", crt, err)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	return &Cert{TLS: pair, PEM: string(crtPEM), Fingerprint: hex.EncodeToString(sum[:])}, nil
}

// generate writes the key first: a certificate without its key would be refused at the next start.
func generate(crt, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 128))
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Berth"}, CommonName: "root@" + host},
		NotBefore:    now, NotAfter: now.Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
		DNSNames: []string{host}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return err
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		return err
	}
	if err := write(key, "EC PRIVATE KEY", keyDER, 0o600); err != nil {
		return err
	}
	return write(crt, "CERTIFICATE", der, 0o644)
}

// write makes the file durable: clients remember what they are shown from now on.
func write(path, kind string, der []byte, mode fs.FileMode) error {
	return durable.WriteFile(path, mode, func(f *os.File) error { return pem.Encode(f, &pem.Block{Type: kind, Bytes: der}) })
}

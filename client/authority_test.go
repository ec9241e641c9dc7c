package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (p pair) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

// issue makes a certificate for 127.0.0.1 or another host; without an authority it is one itself.
func issue(t *testing.T, by *pair, use x509.ExtKeyUsage, ip string) pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "x"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{use}, IPAddresses: []net.IP{net.ParseIP(ip)}, BasicConstraintsValid: true, IsCA: by == nil,
	}
	parent := pair{template, key}
	if by == nil {
		template.ExtKeyUsage, template.KeyUsage = nil, x509.KeyUsageCertSign
	} else {
		parent = *by
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.cert, key.Public(), parent.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair{cert, key}
}

// TestWhichServersAreBelieved: the one whose certificate was accepted, and those that the authority vouches for by their address.
func TestWhichServersAreBelieved(t *testing.T) {
	ca, other := issue(t, nil, 0, "::1"), issue(t, nil, 0, "::1")
	own := issue(t, &ca, x509.ExtKeyUsageServerAuth, "127.0.0.1")
	renewed := issue(t, &ca, x509.ExtKeyUsageServerAuth, "127.0.0.1")
	elsewhere := issue(t, &ca, x509.ExtKeyUsageServerAuth, "192.0.2.1")
	client := issue(t, &ca, x509.ExtKeyUsageClientAuth, "127.0.0.1")
	foreign := issue(t, &other, x509.ExtKeyUsageServerAuth, "127.0.0.1")
	for _, tt := range []struct {
		name    string
		shown   pair
		opts    Options
		believe bool
	}{
		{"accepted", foreign, Options{ServerCert: foreign.pem()}, true},
		{"not the accepted one", renewed, Options{ServerCert: own.pem()}, false},
		{"of the authority", own, Options{CA: ca.pem()}, true},
		{"of another authority", foreign, Options{CA: ca.pem()}, false},
		{"accepted, whatever the authority", foreign, Options{ServerCert: foreign.pem(), CA: ca.pem()}, true},
		{"another than the accepted one, of the authority", renewed, Options{ServerCert: own.pem(), CA: ca.pem()}, true},
		{"of the authority, for another host", elsewhere, Options{ServerCert: own.pem(), CA: ca.pem()}, false},
		{"of the authority, for a client", client, Options{ServerCert: own.pem(), CA: ca.pem()}, false},
		{"another than the accepted one, of another authority", foreign, Options{ServerCert: own.pem(), CA: ca.pem()}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { reply(w, api.Server{}) }))
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{{Certificate: [][]byte{tt.shown.cert.Raw}, PrivateKey: tt.shown.key}}}
			server.StartTLS()
			defer server.Close()
			c, err := ConnectHTTPS(server.URL, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Server(); (err == nil) != tt.believe {
				t.Errorf("%v", err)
			}
			defer c.conn.http.CloseIdleConnections()
		})
	}
	if _, err := ConnectHTTPS("https://127.0.0.1:1", Options{CA: "rubbish"}); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("%v", err)
	}
}

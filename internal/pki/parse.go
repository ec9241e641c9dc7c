package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// ParseAuthorities reads the certificates of authorities, in PEM.
func ParseAuthorities(data []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		list = append(list, cert)
	}
	if len(list) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return list, nil
}

// revoked has the certificates that were revoked, by issuer and serial number.
type revoked map[[2]string]bool

func (r revoked) has(cert *x509.Certificate) bool {
	return r[[2]string{string(cert.RawIssuer), cert.SerialNumber.String()}]
}

// parseRevoked reads lists of revoked certificates, in PEM or one in DER, each signed by one of authorities. A list that is out of date still
// counts: that there should be a newer one lets nobody in who is on it.
func parseRevoked(data []byte, authorities []*x509.Certificate) (revoked, error) {
	lists, err := parseLists(data)
	if err != nil {
		return nil, err
	}
	r := revoked{}
	for _, list := range lists {
		if err := signedBy(list, authorities); err != nil {
			return nil, err
		}
		if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			slog.Warn("The list of revoked certificates is out of date", "issuer", list.Issuer.String(), "since", list.NextUpdate)
		}
		for _, entry := range list.RevokedCertificateEntries {
			r[[2]string{string(list.RawIssuer), entry.SerialNumber.String()}] = true
		}
	}
	return r, nil
}

func parseLists(data []byte) ([]*x509.RevocationList, error) {
	var lists []*x509.RevocationList
	if block, _ := pem.Decode(data); block == nil {
		list, err := x509.ParseRevocationList(data)
		if err != nil {
			return nil, err
		}
		return []*x509.RevocationList{list}, nil
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "X509 CRL" {
			continue
		}
		list, err := x509.ParseRevocationList(block.Bytes)
		if err != nil {
			return nil, err
		}
		lists = append(lists, list)
	}
	if len(lists) == 0 {
		return nil, errors.New("no list of revoked certificates in it")
	}
	return lists, nil
}

func signedBy(list *x509.RevocationList, authorities []*x509.Certificate) error {
	var err error
	for _, cert := range authorities {
		if err = list.CheckSignatureFrom(cert); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the list of %s is signed by nobody of server.ca: %w", list.Issuer, err)
}

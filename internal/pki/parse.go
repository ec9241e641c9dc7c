package pki

import (
	"bytes"
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
	err := eachBlock(data, "CERTIFICATE", func(der []byte) error {
		cert, err := x509.ParseCertificate(der)
		list = append(list, cert)
		return err
	})
	if err == nil && len(list) == 0 {
		err = errors.New("no certificate in it")
	}
	return list, err
}

// begin and end are the marks of each block of PEM, at the beginning of a line.
var begin, end = []byte("-----BEGIN"), []byte("-----END")

// eachBlock calls each with the content of all blocks of a kind. A block that cannot be read, as when a file was cut off, is an error: it may be
// the one that keeps somebody out, and encoding/pem passes it by.
func eachBlock(data []byte, kind string, each func(der []byte) error) error {
	marks := bytes.Count(data, begin) + bytes.Count(data, end)
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		data = rest
		marks -= 2
		if block.Type != kind {
			continue
		}
		if err := each(block.Bytes); err != nil {
			return err
		}
	}
	last := bytes.TrimSpace(data[bytes.LastIndexByte(bytes.TrimSpace(data), '\n')+1:])
	if marks != 0 || len(last) > 0 && bytes.HasPrefix(begin, last) {
		return errors.New("a part of it is cut off or damaged")
	}
	return nil
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
	if !bytes.Contains(data, begin) {
		list, err := x509.ParseRevocationList(data)
		if err != nil {
			return nil, err
		}
		return []*x509.RevocationList{list}, nil
	}
	err := eachBlock(data, "X509 CRL", func(der []byte) error {
		list, err := x509.ParseRevocationList(der)
		lists = append(lists, list)
		return err
	})
	if err == nil && len(lists) == 0 {
		err = errors.New("no list of revoked certificates in it")
	}
	return lists, err
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

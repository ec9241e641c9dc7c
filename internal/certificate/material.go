package certificate

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"

	"github.com/berthd/berth/api"
)

// Fingerprint is the SHA-256 of a certificate's DER form, in hex.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Parse reads a certificate in PEM, or in the base64 of DER that the API also takes.
func Parse(text string) (*x509.Certificate, error) {
	var der []byte
	if block, _ := pem.Decode([]byte(text)); block != nil {
		if block.Type != "CERTIFICATE" {
			return nil, api.BadRequest("Invalid certificate material: it is a %q", block.Type)
		}
		der = block.Bytes
	} else {
		var err error
		if der, err = base64.StdEncoding.DecodeString(text); err != nil {
			return nil, api.BadRequest("Invalid certificate material: %w", err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, api.BadRequest("Invalid certificate material: %w", err)
	}
	return cert, nil
}

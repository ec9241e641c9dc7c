package api

// CertificatePut is the part of a trusted certificate that PUT and PATCH change.
type CertificatePut struct {
	Name        string   `json:"name" yaml:"name"`
	Type        string   `json:"type" yaml:"type"` // client or metrics
	Restricted  bool     `json:"restricted" yaml:"restricted"`
	Projects    []string `json:"projects" yaml:"projects"`
	Certificate string   `json:"certificate" yaml:"certificate"` // PEM
}

// CertificatesPost asks for a certificate to be trusted. On an untrusted TLS connection Password proves that
// the caller may; an empty Certificate means the one of the connection.
type CertificatesPost struct {
	CertificatePut `yaml:",inline"`
	Password       string `json:"password" yaml:"password"`
	Token          bool   `json:"token" yaml:"token"`
}

// Certificate is what GET /1.0/certificates/<fingerprint> shows.
type Certificate struct {
	CertificatePut `yaml:",inline"`
	Fingerprint    string `json:"fingerprint" yaml:"fingerprint"` // SHA-256 of the DER form, hex
}

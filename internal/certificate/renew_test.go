package certificate

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// restrictedTo adds a certificate that is restricted to projects.
func restrictedTo(t *testing.T, s *Service, cert *x509.Certificate, projects ...string) {
	t.Helper()
	req := post("client", "", asPEM(cert))
	req.Restricted, req.Projects = true, projects
	if _, err := s.Add(as(true), req, nil); err != nil {
		t.Fatal(err)
	}
}

// TestARenewalTellsNobodyWhichCertificatesThereAre: with what is another's it ends as with what nobody has, and takes nothing from them.
func TestARenewalTellsNobodyWhichCertificatesThereAre(t *testing.T) {
	s := newService(t)
	first, second, third := newCert(t, "1", time.Hour), newCert(t, "2", time.Hour), newCert(t, "3", time.Hour)
	full, signed, nobodys := newCert(t, "full", time.Hour), newCert(t, "signed", time.Hour), newCert(t, "nobody", time.Hour)
	for _, cert := range []*x509.Certificate{first, second, third} {
		restrictedTo(t, s, cert, "a")
	}
	if _, err := s.Add(as(true), post("client", "", asPEM(full)), nil); err != nil {
		t.Fatal(err)
	}
	s.Vouches = signed.Equal
	for mine, next := range map[*x509.Certificate]*x509.Certificate{first: full, second: nobodys, third: signed} {
		if err := s.Update(by(mine), Fingerprint(mine), patch(`{"certificate":`+quoted(asPEM(next))+`}`), always); err != nil {
			t.Errorf("%s in the place of %s: %v", next.Subject, mine.Subject, err)
		}
		if _, ok := s.Trusted(mine); ok {
			t.Errorf("%s is still trusted: it cost nothing to ask", mine.Subject)
		}
	}
	if c, ok := s.Trusted(full); !ok || c.Restricted || c.Name != "full" || len(c.Projects) != 0 {
		t.Errorf("another's is %+v", c)
	}
	if c, ok := s.Trusted(nobodys); !ok || !c.Restricted || c.Name != "2" {
		t.Errorf("the renewed one is %+v", c)
	}
	if c, ok := s.Trusted(signed); ok {
		t.Errorf("the authority's client, who has all rights, has become %+v", c)
	}
	if err := s.Update(as(true), Fingerprint(nobodys), patch(`{"certificate":`+quoted(asPEM(full))+`}`), always); api.StatusOf(err) != 409 {
		t.Errorf("whoever sees all is told: %v", err)
	}
}

// TestARenewalWithOnesOwnKeepsIt, given in another form or with a second certificate of the same holder.
func TestARenewalWithOnesOwnKeepsIt(t *testing.T) {
	s := newService(t)
	mine, mine2 := newCert(t, "1", time.Hour), newCert(t, "2", time.Hour)
	restrictedTo(t, s, mine, "a")
	restrictedTo(t, s, mine2, "b")
	if err := s.Update(by(mine), Fingerprint(mine), patch(`{"certificate":`+quoted(asPEM(mine))+`}`), always); err != nil {
		t.Error(err)
	}
	if _, ok := s.Trusted(mine); !ok {
		t.Error("it is gone")
	}
	if err := s.Update(by(mine), Fingerprint(mine), patch(`{"certificate":`+quoted(asPEM(mine2))+`}`), always); err != nil {
		t.Error(err)
	}
	if c, ok := s.Trusted(mine2); !ok || c.Projects[0] != "b" || c.Name != "2" {
		t.Errorf("%+v", c)
	}
}

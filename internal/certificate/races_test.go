package certificate

import (
	"net/http"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// TestACertificateThatWentMeanwhileDoesNotComeBack has a client replace the material of a certificate that another client
// takes out of the trust store at that moment.
func TestACertificateThatWentMeanwhileDoesNotComeBack(t *testing.T) {
	s := newService(t)
	old, next := newCert(t, "old", time.Hour), newCert(t, "next", time.Hour)
	if _, err := s.Add(as(true), post("client", "", asPEM(old)), nil); err != nil {
		t.Fatal(err)
	}
	put := api.CertificatePut{Name: "old", Type: "client", Certificate: asPEM(next)}
	err := s.Update(as(true), Fingerprint(old), to(put), func(store.Revision) error { return s.Delete(as(true), Fingerprint(old)) })
	if err == nil {
		t.Error("replaced what was deleted")
	}
	if _, ok := s.table.Get(Fingerprint(next)); ok {
		t.Error("the new certificate is trusted")
	}
}

// TestOneCertificateIsAddedOnce: whoever comes second is told so, in whatever order they come.
func TestOneCertificateIsAddedOnce(t *testing.T) {
	s := newService(t)
	cert := newCert(t, "c", time.Hour)
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := s.Add(as(true), post("client", "", asPEM(cert)), nil)
			results <- err
		}()
	}
	added := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			added++
		case api.StatusOf(err) != http.StatusConflict:
			t.Error(err)
		}
	}
	if added != 1 {
		t.Errorf("added %d times", added)
	}
}

package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/internal/bounded"
)

// authority is one that a test makes.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  crypto.Signer
	last int64
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return &authority{t: t, key: key, last: 1, cert: sign(t, template, template, key, key)}
}

func sign(t testing.TB, template, parent *x509.Certificate, of, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, of.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// issue makes a certificate for a use, or for none that is said.
func (a *authority) issue(use ...x509.ExtKeyUsage) *x509.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.last++
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.last), Subject: pkix.Name{CommonName: "client"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: use,
	}
	return sign(a.t, template, a.cert, key, a.key)
}

// revoke makes the list of what is revoked, of another instant each time.
func (a *authority) revoke(until time.Time, certs ...*x509.Certificate) []byte {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: until}
	for _, cert := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: cert.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func asPEM(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, cert := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return out
}

// put replaces a file as an administrator does.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestWhomTheAuthorityLetsIn(t *testing.T) {
	dir := t.TempDir()
	ca, other, imposter := newAuthority(t, "ca"), newAuthority(t, "other"), newAuthority(t, "ca")
	client, server, plain, gone := ca.issue(x509.ExtKeyUsageClientAuth), ca.issue(x509.ExtKeyUsageServerAuth), ca.issue(), ca.issue(x509.ExtKeyUsageClientAuth)
	foreign, forged := other.issue(x509.ExtKeyUsageClientAuth), imposter.issue(x509.ExtKeyUsageClientAuth)
	a := New(dir)
	expect := func(when string, cert *x509.Certificate, refused, vouched bool) {
		t.Helper()
		if err := a.Refuses(cert); (err != nil) != refused {
			t.Errorf("%s: refused with %v", when, err)
		}
		if got := a.Vouches(cert); got != vouched {
			t.Errorf("%s: vouched for is %v", when, got)
		}
	}
	expect("without an authority", foreign, false, false)
	put(t, filepath.Join(dir, "ca.crl"), ca.revoke(time.Now().Add(time.Hour), gone))
	expect("with a list and no authority", gone, false, false)

	put(t, filepath.Join(dir, "server.ca"), asPEM(ca.cert))
	expect("one of its clients", client, false, true)
	expect("a server's", server, false, false) // trusted only where it was added
	expect("one for any use", plain, false, true)
	expect("another's client", foreign, true, false)
	expect("one by somebody of its name", forged, true, false)
	expect("a revoked one", gone, true, false)

	put(t, filepath.Join(dir, "ca.crl"), ca.revoke(time.Now().Add(time.Hour), gone, client))
	expect("revoked while the server runs", client, true, false)
	put(t, filepath.Join(dir, "ca.crl"), ca.revoke(time.Now().Add(-time.Minute), gone))
	expect("on a list that is out of date", gone, true, false)
	expect("not on a list that is out of date", client, false, true)

	put(t, filepath.Join(dir, "server.ca"), asPEM(ca.cert, other.cert))
	expect("one of a second authority", foreign, false, true)
	put(t, filepath.Join(dir, "ca.crl"), append(ca.revoke(time.Now().Add(time.Hour), gone), other.revoke(time.Now().Add(time.Hour), foreign)...))
	expect("revoked by the second", foreign, true, false)
	expect("revoked by the first", gone, true, false)
	expect("not revoked by either", client, false, true)
	if err := os.Remove(filepath.Join(dir, "server.ca")); err != nil {
		t.Fatal(err)
	}
	expect("without the authority again", forged, false, false)
}

// intermediate makes an authority of which another one says that it is one.
func (a *authority) intermediate(name string) *authority {
	a.t.Helper()
	sub := newAuthority(a.t, name)
	a.last++
	template := *sub.cert
	template.SerialNumber = big.NewInt(a.last)
	sub.cert = sign(a.t, &template, a.cert, sub.key, a.key)
	return sub
}

// TestARevokedIntermediateLetsNobodyIn, wherever it stands in server.ca; one of the same file that was not revoked does.
func TestARevokedIntermediateLetsNobodyIn(t *testing.T) {
	dir := t.TempDir()
	root := newAuthority(t, "root")
	gone, kept := root.intermediate("gone"), root.intermediate("kept")
	bad, good := gone.issue(x509.ExtKeyUsageClientAuth), kept.issue(x509.ExtKeyUsageClientAuth)
	put(t, filepath.Join(dir, "server.ca"), asPEM(root.cert, gone.cert, kept.cert))
	a := New(dir)
	if !a.Vouches(bad) || !a.Vouches(good) {
		t.Fatal("an intermediate lets nobody in")
	}
	put(t, filepath.Join(dir, "ca.crl"), root.revoke(time.Now().Add(time.Hour), gone.cert))
	if err := a.Refuses(bad); !errors.Is(err, errRevoked) || a.Vouches(bad) {
		t.Errorf("of a revoked one: %v", err)
	}
	if err := a.Refuses(good); err != nil || !a.Vouches(good) {
		t.Errorf("of the other: %v", err)
	}
}

// TestWhatCannotBeReadLetsNobodyIn: it might have been what keeps somebody out.
func TestWhatCannotBeReadLetsNobodyIn(t *testing.T) {
	ca, imposter := newAuthority(t, "ca"), newAuthority(t, "ca")
	client := ca.issue(x509.ExtKeyUsageClientAuth)
	for name, files := range map[string]struct {
		ca, crl []byte
		want    string
	}{
		"no authority in it":      {[]byte("rubbish"), nil, "no certificate"},
		"a broken authority":      {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}), nil, "malformed"},
		"an empty list":           {asPEM(ca.cert), []byte{}, "malformed"},
		"no list in it":           {asPEM(ca.cert), asPEM(ca.cert), "no list"},
		"a list by somebody else": {asPEM(ca.cert), imposter.revoke(time.Now().Add(time.Hour)), "signed by nobody"},
		"half a list":             {asPEM(ca.cert), ca.revoke(time.Now().Add(time.Hour))[:100], "cut off"},
	} {
		dir := t.TempDir()
		put(t, filepath.Join(dir, "server.ca"), files.ca)
		if files.crl != nil {
			put(t, filepath.Join(dir, "ca.crl"), files.crl)
		}
		a := New(dir)
		if err := a.Refuses(client); err == nil || !strings.Contains(err.Error(), files.want) || a.Vouches(client) {
			t.Errorf("%s: %v, want %q", name, err, files.want)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "server.ca"), 0o700); err != nil {
		t.Fatal(err)
	}
	if a := New(dir); a.Refuses(client) == nil || a.Vouches(client) {
		t.Error("a folder in the place of the file lets in")
	}
}

// TestFilesThatHangLetNobodyIn has the disk of the files not answer: who asks is told so in time, and all is well once it does.
func TestFilesThatHangLetNobodyIn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ca := newAuthority(t, "ca")
		client := ca.issue(x509.ExtKeyUsageClientAuth)
		put(t, filepath.Join(dir, "server.ca"), asPEM(ca.cert))
		a := New(dir)
		if err := a.Refuses(client); err != nil {
			t.Fatal(err)
		}
		answer := make(chan struct{})
		a.stat = func(path string) (fs.FileInfo, error) { <-answer; return os.Stat(path) }
		began := time.Now()
		for range 3 {
			if err := a.Refuses(client); !errors.Is(err, bounded.ErrHung) || a.Vouches(client) {
				t.Errorf("while the disk hangs: %v", err)
			}
		}
		if took := time.Since(began); took != fileTime {
			t.Errorf("to be told takes %s", took)
		}
		close(answer)
		synctest.Wait()
		if err := a.Refuses(client); err != nil {
			t.Errorf("once it answers: %v", err)
		}
	})
}

// TestADamagedListLetsNobodyIn has a file of several blocks break off anywhere, and have one wrong character anywhere.
func TestADamagedListLetsNobodyIn(t *testing.T) {
	one, two := newAuthority(t, "one"), newAuthority(t, "two")
	until := time.Now().Add(time.Hour)
	first, second := one.revoke(until, one.issue()), two.revoke(until, two.issue())
	authorities := []*x509.Certificate{one.cert, two.cert}
	both := append(slices.Clone(first), second...)
	for n := len(first) + 1; n < len(both)-1; n++ { // without its last line break it is whole
		if r, err := parseRevoked(both[:n], authorities); err == nil {
			t.Fatalf("of %d bytes the first %d are taken for the whole: %d entries", len(both), n, len(r))
		}
	}
	for n := range both {
		damaged := slices.Clone(both)
		damaged[n] = '!'
		if r, err := parseRevoked(damaged, authorities); err == nil && len(r) != 2 {
			t.Fatalf("with byte %d damaged there are %d entries", n, len(r))
		}
	}
	ruled := slices.Concat([]byte("# -------- one --------\n"), first, []byte("--------\n"), second, []byte("# --------\n"))
	for _, data := range [][]byte{both, ruled} {
		if r, err := parseRevoked(data, authorities); err != nil || len(r) != 2 {
			t.Errorf("undamaged: %d entries, %v", len(r), err)
		}
	}
	certs := asPEM(authorities...)
	for n := len(asPEM(one.cert)) + 1; n < len(certs)-1; n++ {
		if list, err := ParseAuthorities(certs[:n]); err == nil {
			t.Fatalf("%d of %d bytes are %d authorities", n, len(certs), len(list))
		}
	}
}

func FuzzParse(f *testing.F) {
	ca := newAuthority(f, "ca")
	list := ca.revoke(time.Now().Add(time.Hour), ca.issue())
	block, _ := pem.Decode(list)
	f.Add(list)
	f.Add(block.Bytes)
	f.Add(asPEM(ca.cert))
	f.Add([]byte("-----BEGIN X509 CRL-----\nZm9v\n-----END X509 CRL-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if certs, err := ParseAuthorities(data); err == nil && len(certs) == 0 {
			t.Error("no authority, and no error")
		}
		r, err := parseRevoked(data, []*x509.Certificate{ca.cert})
		if err != nil && r != nil {
			t.Error("an error and a list")
		}
	})
}

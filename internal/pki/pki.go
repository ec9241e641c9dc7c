// Package pki is the certificate authority of a server whose administrator has one: server.ca, and its list of revoked certificates, ca.crl.
package pki

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/berthd/berth/internal/bounded"
)

// maxFile bounds each of the two files (bytes). A list with a hundred thousand entries has some 4 MB.
const maxFile = 16 << 20

// Authority is the authority of a server, as its files are now: they may be replaced while it runs, as lists of revoked certificates are.
type Authority struct {
	ca, crl string // paths

	calls bounded.Calls
	stat  func(string) (fs.FileInfo, error) // os.Stat, but in tests

	mu   sync.Mutex
	read reading
}

// reading is what was found when the files were looked at last.
type reading struct {
	stamp [2]stamp
	now   *state
}

// fileTime bounds the wait for the files, which may be links to a disk that hangs.
const fileTime = 5 * time.Second

// state is what the files held when they were read.
type state struct {
	present bool
	roots   *x509.CertPool
	revoked revoked
	err     error // they could not be read
}

// stamp tells whether a file is another one.
type stamp struct {
	there bool
	size  int64
	time  time.Time
	info  fs.FileInfo
}

func (s stamp) same(other stamp) bool {
	if s.there != other.there || !s.there {
		return s.there == other.there
	}
	return s.size == other.size && s.time.Equal(other.time) && os.SameFile(s.info, other.info)
}

// New is the authority whose files are in dir.
func New(dir string) *Authority {
	return &Authority{ca: filepath.Join(dir, "server.ca"), crl: filepath.Join(dir, "ca.crl"), stat: os.Stat}
}

var errRevoked = errors.New("it was revoked by the server's authority")

// Refuses tells why the authority keeps the holder of a certificate out, whatever else is said of it. Without server.ca nobody is kept out;
// with one that cannot be read everybody is.
func (a *Authority) Refuses(cert *x509.Certificate) error {
	s := a.current()
	if !s.present {
		return nil
	}
	return s.check(cert, x509.ExtKeyUsageAny)
}

// Vouches tells whether the authority says of a certificate that its holder is one of its clients.
func (a *Authority) Vouches(cert *x509.Certificate) bool {
	s := a.current()
	return s.present && s.check(cert, x509.ExtKeyUsageClientAuth) == nil
}

func (s *state) check(cert *x509.Certificate, use x509.ExtKeyUsage) error {
	if s.err != nil {
		return s.err
	}
	if s.revoked.has(cert) {
		return errRevoked
	}
	chains, err := cert.Verify(x509.VerifyOptions{Roots: s.roots, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return fmt.Errorf("it is not of the server's authority: %w", err)
	}
	for _, chain := range chains {
		if !slices.ContainsFunc(chain, s.revoked.has) {
			return nil
		}
	}
	return errRevoked
}

// current reads the files if they are not those that were read last. While they cannot be looked at nobody is let in: somebody may have been
// revoked since.
func (a *Authority) current() *state {
	a.mu.Lock()
	defer a.mu.Unlock()
	before := a.read
	found, err := bounded.Do(context.Background(), &a.calls, "", fileTime, func() (reading, error) { return a.look(before), nil })
	if err != nil {
		slog.Error("The server's authority cannot be read: nobody gets in by a certificate", "err", err)
		return &state{present: true, err: fmt.Errorf("the server's authority %w", err)}
	}
	a.read = found
	return found.now
}

func (a *Authority) look(before reading) reading {
	stamps := [2]stamp{a.stampOf(a.ca), a.stampOf(a.crl)}
	if before.now != nil && stamps[0].same(before.stamp[0]) && stamps[1].same(before.stamp[1]) {
		return before
	}
	return reading{stamps, a.load(stamps)}
}

func (a *Authority) load(stamps [2]stamp) *state {
	if !stamps[0].there {
		return &state{}
	}
	s := &state{present: true}
	if s.err = s.load(a.ca, a.crl, stamps[1].there); s.err != nil {
		slog.Error("The server's authority cannot be read: nobody gets in by a certificate", "err", s.err)
	}
	return s
}

func (s *state) load(ca, crl string, listed bool) error {
	data, err := readFile(ca)
	if err != nil {
		return err
	}
	authorities, err := ParseAuthorities(data)
	if err != nil {
		return fmt.Errorf("%s: %w", ca, err)
	}
	s.roots = x509.NewCertPool()
	for _, cert := range authorities {
		s.roots.AddCert(cert)
	}
	if !listed {
		return nil
	}
	if data, err = readFile(crl); err != nil {
		return err
	}
	if s.revoked, err = parseRevoked(data, authorities); err != nil {
		return fmt.Errorf("%s: %w", crl, err)
	}
	return nil
}

// stampOf tells of a file that cannot be looked at, for whatever reason but that it is not there, that it is: to read it says why not.
func (a *Authority) stampOf(path string) stamp {
	info, err := a.stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return stamp{}
	case err != nil:
		return stamp{there: true, info: nil}
	}
	return stamp{there: true, size: info.Size(), time: info.ModTime(), info: info}
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return data, nil
}

package servercert

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/internal/loopfs"
)

// TestTheCertificateIsKept has clients find the daemon that they have met before, also where the power ended right behind the meeting.
func TestTheCertificateIsKept(t *testing.T) {
	disk := loopfs.PowerDisk(t)
	first, err := Load(disk.Path)
	if err != nil {
		t.Fatal(err)
	}
	disk.PowerCut(nil)
	for range 2 {
		again, err := Load(disk.Path)
		if err != nil {
			t.Fatal(err)
		}
		if again.Fingerprint != first.Fingerprint || again.PEM != first.PEM {
			t.Fatalf("it was %s, and is %s", first.PEM, again.PEM)
		}
	}
}

// TestLoadRemovesRemains of a daemon that was killed while it made them.
func TestLoadRemovesRemains(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"server.crt.tmp1", "server.key.tmp2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*.tmp*")); err != nil || len(left) != 0 {
		t.Errorf("%q are left, %v", left, err)
	}
}

// TestSecretsFollowFromTheKey and from nothing else.
func TestSecretsFollowFromTheKey(t *testing.T) {
	dir := t.TempDir()
	derive := func(dir, purpose, name string) string {
		t.Helper()
		c, err := Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := c.Derive(purpose, name)
		if err != nil || len(secret) != 64 {
			t.Fatal(secret, err)
		}
		return secret
	}
	first := derive(dir, "a", "b")
	if again := derive(dir, "a", "b"); again != first {
		t.Errorf("%s became %s", first, again)
	}
	for _, other := range []string{derive(dir, "a", "c"), derive(dir, "c", "b"), derive(dir, "ab", ""), derive(t.TempDir(), "a", "b")} {
		if other == first {
			t.Errorf("another secret is %s, too", other)
		}
	}
}

package servercert

import (
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

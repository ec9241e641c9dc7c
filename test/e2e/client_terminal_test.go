package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

const ctrlC = "\x03"

func TestCtrlCCancelsWithoutLeftovers(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("init", "bb", "c1")
	big := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(big, random(64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	d.Berth("file", "push", big, "c1/root/big")
	x := d.OnTerminal(harness.Program("berth"), "publish", "c1", "--alias", "p", "--compression", "xz")
	x.Until("Image pack: ")
	x.Type(ctrlC)
	if code := x.End(); code != 1 || !strings.Contains(x.Screen(), "Error: Cancelled\r\n") || strings.Contains(x.Screen(), "pipe") {
		t.Errorf("publish: %d, %q", code, x.Screen())
	}
	if got := d.Berth("image", "list", "-f", "csv", "-c", "l"); got != "bb\n" {
		t.Errorf("images: %q", got)
	}

	dir := t.TempDir()
	x = d.OnTerminal(harness.Program("berth"), "image", "build", "debian/12", "--output", filepath.Join(dir, "image.tar"))
	harness.Eventually(t, 10*time.Second, "the build begins", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) > 0
	})
	x.Type(ctrlC)
	if code := x.End(); code != 1 || !strings.Contains(x.Screen(), "Error: Cancelled\r\n") {
		t.Errorf("image build: %d, %q", code, x.Screen())
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

// random is content that does not compress.
func random(size int) []byte {
	out := make([]byte, size)
	state := uint64(1)
	for i := range out {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		out[i] = byte(state)
	}
	return out
}

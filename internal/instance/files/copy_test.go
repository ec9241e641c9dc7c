package files

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAFileThatBecomesShorterIsNotSentWhole: what was announced of it is not there any more, and half a file must not look like a whole one.
func TestAFileThatBecomesShorterIsNotSentWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for name, c := range map[string]struct {
		has, announced int
		fails          bool
	}{
		"as announced": {5, 5, false}, "longer": {9, 5, false}, "shorter by one": {4, 5, true}, "empty": {0, 5, true}, "nothing of nothing": {0, 0, false},
		"of several buffers": {2*bufferSize + 1, 2*bufferSize + 1, false}, "short of several buffers": {2 * bufferSize, 2*bufferSize + 1, true},
	} {
		if err := os.WriteFile(path, bytes.Repeat([]byte("x"), c.has), 0o600); err != nil {
			t.Fatal(err)
		}
		for way, send := range map[string]func(to io.Writer, f *os.File) error{
			"CopyN": func(to io.Writer, f *os.File) error { return CopyN(t.Context(), to, f, int64(c.announced)) },
			"SendN": func(to io.Writer, f *os.File) error { return SendN(to, f, int64(c.announced)) },
		} {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			err = send(&got, f)
			_ = f.Close()
			if c.fails != errors.Is(err, io.ErrUnexpectedEOF) || !c.fails && err != nil {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			if want := min(c.has, c.announced); got.Len() != want {
				t.Errorf("%s, %s: %d bytes came, not %d", name, way, got.Len(), want)
			}
		}
	}
	cut := io.MultiReader(strings.NewReader("half"), brokenOff{})
	if err := Copy(t.Context(), io.Discard, cut); err == nil || !strings.Contains(err.Error(), "the content is cut off") {
		t.Errorf("an upload that is cut off: %v", err)
	}
}

// brokenOff is what HTTP gives of a body whose sender has gone.
type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

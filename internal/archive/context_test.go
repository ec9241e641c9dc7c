package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

// patient is a context that ends once it has been asked so many times. What never asks within a file never sees it end.
type patient struct {
	context.Context
	left atomic.Int64
	ask  func() // if set, called each time
}

func newPatient(asks int64) *patient {
	p := &patient{Context: context.Background()}
	p.left.Store(asks)
	return p
}

// Err implements context.Context.
func (p *patient) Err() error {
	if p.ask != nil {
		p.ask()
	}
	if p.left.Add(-1) < 0 {
		return context.Canceled
	}
	return nil
}

// asks is more than a small archive needs, and less than what a file of 16 MiB does.
const asks = 30

// A hole takes no bytes of the archive: one of 4 TiB was unpacked for minutes after its operation was cancelled.
func TestUnpackOfAHoleEndsWithItsContext(t *testing.T) {
	needRoot(t)
	src := t.TempDir()
	holes(t, filepath.Join(src, "file"), 16<<20)
	var b bytes.Buffer
	p := NewPacker(context.Background(), &b)
	must(t, errors.Join(p.AddTree(src, "."), p.Close()))
	dir := t.TempDir()
	if _, err := Unpack(newPatient(asks), fileOf(t, b.Bytes()), dir, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("unpacked with %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
	err := Scan(newPatient(asks), fileOf(t, b.Bytes()), func(_ string, _ Kind, _ int64, content io.Reader) (bool, error) {
		_, err := io.Copy(io.Discard, content)
		return false, err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("read with %v", err)
	}
}

// A file was packed to its end, and what had been cut of it filled up with zeros, however long ago its operation was cancelled.
func TestPackOfAFileEndsWithItsContext(t *testing.T) {
	needRoot(t)
	const size = 16 << 20
	full := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(full, bytes.Repeat([]byte("x"), size), 0o600))

	ctx := newPatient(asks)
	if err := NewPacker(ctx, io.Discard).AddTree(filepath.Dir(full), "."); !errors.Is(err, context.Canceled) {
		t.Errorf("packed with %v", err)
	}

	ctx = newPatient(asks)
	f, err := os.Open(full)
	must(t, err)
	defer f.Close()
	ctx.ask = func() { // what asks first inside the file comes after the header
		if ctx.left.Load() < asks {
			must(t, os.Truncate(full, 0))
		}
	}
	if err := NewPacker(ctx, io.Discard).AddTree(filepath.Dir(full), "."); !errors.Is(err, context.Canceled) {
		t.Errorf("the rest of a file that was cut was packed with %v", err)
	}

	must(t, os.Truncate(full, 0))
	h := &tar.Header{Name: "file", Size: size, Typeflag: tar.TypeReg}
	if err := NewPacker(newPatient(asks), io.Discard).addSparse(f, h, []extent{{0, size}}); !errors.Is(err, context.Canceled) {
		t.Errorf("the rest of a sparse file that was cut was packed with %v", err)
	}
}

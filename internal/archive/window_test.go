package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Window descriptors of zstd (RFC 8878, section 3.1.1.1.2).
const (
	window8M   = 0x68
	window128M = 0x88
	window256M = 0x90
	window512M = 0x98
)

// zstdFrame is data as a frame of one raw block, which asks for a window that it does not need.
func zstdFrame(window byte, data []byte) []byte {
	size := len(data)<<3 | 1 // the last block
	return append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0, window, byte(size), byte(size >> 8), byte(size >> 16)}, data...)
}

func tarOf(t *testing.T, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	must(t, errors.Join(w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}), w.Close()))
	return b.Bytes()
}

// One archive may ask for 256 MiB of the daemon's memory. Eight at once took 2 GB.
func TestParallelZstdIsBounded(t *testing.T) {
	needRoot(t)
	data := tarOf(t, "file")
	open := func(ctx context.Context, window byte) (*Reader, error) {
		return Open(ctx, fileOf(t, zstdFrame(window, data)), nil)
	}
	var held []*Reader
	hold := func(window byte) {
		t.Helper()
		r, err := open(t.Context(), window)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, r)
	}
	waits := func(window byte) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if r, err := open(ctx, window); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another is read at once, with %v", err)
			if err == nil {
				held = append(held, r)
			}
		}
	}
	release := func() {
		t.Helper()
		for _, r := range held {
			must(t, errors.Join(r.Close(), r.Close()))
		}
		held = nil
	}
	hold(window256M)
	waits(window128M)
	hold(window8M) // what most archives ask for is not kept waiting
	release()
	hold(window128M)
	hold(window128M)
	waits(window128M)
	release()
	// What fails gives back what it took, and so does what is unpacked.
	for range 3 {
		if _, err := Unpack(t.Context(), fileOf(t, zstdFrame(window256M, data)[:600]), t.TempDir(), Options{}); err == nil {
			t.Error("half an archive is unpacked")
		}
		if _, err := Unpack(t.Context(), fileOf(t, zstdFrame(window256M, data)), t.TempDir(), Options{}); err != nil {
			t.Error(err)
		}
	}
	hold(window256M)
	release()
}

// The window is counted before the stream is read, so nothing in it may ask for more.
func TestAZstdWindowIsWhatWasSaid(t *testing.T) {
	needRoot(t)
	data := tarOf(t, "file")
	half := len(data) / 2
	two := func(first, second byte) *os.File {
		return fileOf(t, append(zstdFrame(first, data[:half]), zstdFrame(second, data[half:])...))
	}
	if _, err := Unpack(t.Context(), two(window128M, window8M), t.TempDir(), Options{}); err != nil {
		t.Error(err)
	}
	if _, err := Unpack(t.Context(), two(window8M, window128M), t.TempDir(), Options{}); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a later frame has a larger window: %v", err)
	}
	if _, err := Unpack(t.Context(), two(window512M, window8M), t.TempDir(), Options{}); !errors.Is(err, ErrLimit) {
		t.Errorf("a window of 512 MiB: %v", err)
	}
	// A single segment has no window: it is held whole.
	single := append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, 0, 0, 0, 0x40) // of 1 GiB
	if _, err := Unpack(t.Context(), fileOf(t, append(single, 1, 0, 0)), t.TempDir(), Options{}); !errors.Is(err, ErrLimit) {
		t.Errorf("a single segment of 1 GiB: %v", err)
	}
}

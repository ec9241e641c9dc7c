package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"math/rand/v2"
	"os/exec"
	"testing"
)

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// gunzip reads a stream by the reader that is chosen for an archive of the given size.
func gunzip(stream []byte, size int64) ([]byte, error) {
	r := &Reader{Format: Gzip, Size: size, close: func() error { return nil }}
	if err := r.openGzip(context.Background(), bytes.NewReader(stream)); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	if closing := r.Close(); err == nil {
		err = closing
	}
	return data, err
}

func TestBothReadersOfGzipAgree(t *testing.T) {
	if _, err := exec.LookPath("igzip"); err != nil {
		t.Skip("needs igzip (package isal)")
	}
	data := make([]byte, 400<<10)
	_, _ = rand.NewChaCha8([32]byte{}).Read(data[:len(data)/2]) // half of it does not compress
	good := gzipped(t, data)
	with := func(change func([]byte) []byte) []byte { return change(bytes.Clone(good)) }
	flip := func(at int) []byte { return with(func(b []byte) []byte { b[at] ^= 1; return b }) }
	end := len(good)
	for name, c := range map[string]struct {
		stream []byte
		want   []byte // nil: refused
	}{
		"one member":         {good, data},
		"two members":        {append(bytes.Clone(good), gzipped(t, []byte("more"))...), append(bytes.Clone(data), "more"...)},
		"nothing compressed": {gzipped(t, nil), []byte{}},
		"no byte":            {[]byte{}, nil},
		"not gzip":           {data, nil},
		"half":               {good[:end/2], nil},
		"no checksum":        {good[:end-8], nil},
		"half a checksum":    {good[:end-6], nil},
		"no length":          {good[:end-4], nil},
		"wrong checksum":     {flip(end - 7), nil},
		"wrong length":       {flip(end - 2), nil},
		"damaged in between": {flip(end / 2), nil},
		"damaged method":     {flip(2), nil},
	} {
		for reader, size := range map[string]int64{"the process": 0, "igzip": smallGzip + 1} {
			got, err := gunzip(c.stream, size)
			if c.want == nil && err == nil {
				t.Errorf("%s: %s accepts it", name, reader)
			}
			if c.want != nil && (err != nil || !bytes.Equal(got, c.want)) {
				t.Errorf("%s: %s reads %d bytes, %v; want %d", name, reader, len(got), err, len(c.want))
			}
		}
	}
}

// A reader that is given up on leaves no program behind.
func TestGivingUpOnGzip(t *testing.T) {
	stream := gzipped(t, make([]byte, 64<<20))
	r := &Reader{Format: Gzip, Size: smallGzip + 1, close: func() error { return nil }}
	if err := r.openGzip(context.Background(), bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil { // waits for it
		t.Error(err)
	}
}

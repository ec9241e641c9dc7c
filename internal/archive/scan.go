package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Scan reads through the archive f without unpacking it. fn sees each entry by its clean name, with its content, and
// says whether it has seen enough. An entry whose name Unpack would refuse is refused here too. Of a plain tar file, contents that fn does not read are passed over
// on the disk.
func Scan(ctx context.Context, f *os.File, fn func(name string, kind Kind, size int64, content io.Reader) (stop bool, err error)) error {
	r, err := Open(ctx, f, nil)
	if err != nil {
		return err
	}
	in := &tarInput{r: ContextReader{ctx, r}, left: maxStream}
	see := func(name string, kind Kind, size int64, content io.Reader) (bool, error) {
		return fn(name, kind, size, ContextReader{ctx, content}) // holes do not come from in
	}
	if s, ok := r.Reader.(io.Seeker); ok {
		err = scan(seekingInput{in, s}, see)
	} else {
		err = scan(in, see)
	}
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	return err
}

// seekingInput lets the tar reader pass over what nobody reads. It reads the last byte before each place that it goes on from, so that a
// file that ends before is noticed.
type seekingInput struct {
	*tarInput
	io.Seeker
}

// Seek implements io.Seeker.
func (s seekingInput) Seek(offset int64, whence int) (int64, error) {
	at, err := s.Seeker.Seek(offset, whence)
	s.n = at
	return at, err
}

func scan(in interface {
	io.Reader
	finish() error
}, fn func(string, Kind, int64, io.Reader) (bool, error)) error {
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return in.finish()
		}
		if err != nil {
			return tarError(err)
		}
		kind, ok, err := kindOf(h)
		if err != nil {
			return fmt.Errorf("entry %q: %w", shorten(h.Name), err)
		}
		if !ok {
			continue
		}
		name, err := cleanName(h.Name)
		if err != nil {
			return fmt.Errorf("entry %q: %w", shorten(h.Name), err)
		}
		if stop, err := fn(name, kind, h.Size, tr); err != nil || stop {
			return err
		}
	}
}

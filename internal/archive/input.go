package archive

import "io"

// tarInput is what the tar reader reads: it counts down what may come out, and remembers whether the end of the archive was
// really there.
type tarInput struct {
	r    io.Reader
	left int64
	n    int64
	zero bool // the last 512-byte block was all zero: the end mark
}

func (t *tarInput) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n == blockSize {
		t.zero = isZero(p[:n])
	}
	t.n += int64(n)
	if t.left -= int64(n); t.left < 0 {
		return 0, overLimit("more than %d bytes", int64(maxStream))
	}
	return n, err
}

const (
	blockSize  = 512
	maxTrailer = 16 << 20
)

// finish reads what follows the end mark, which is padding, so that whatever feeds the stream can check its sums.
func (t *tarInput) finish() error {
	// An end mark may be missing, as tar has it; members fill whole blocks.
	if !t.zero && (t.n == 0 || t.n%blockSize != 0) {
		return refused("archive is cut short")
	}
	n, err := io.Copy(io.Discard, io.LimitReader(t, maxTrailer+1))
	if err != nil {
		return err
	}
	if n > maxTrailer {
		return refused("data after the end of the archive")
	}
	return nil
}

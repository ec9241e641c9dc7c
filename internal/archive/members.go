package archive

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
)

// gzipMembers reads the members of a gzip file one after the other, as the library does by itself, but lets zeros fill up
// the end: a tape or a block device pads a file so, and gzip(1), through which LXD reads, says nothing of it.
type gzipMembers struct {
	in *bufio.Reader
	z  *gzip.Reader
}

func newGzip(source io.Reader) (*gzipMembers, error) {
	in := bufio.NewReaderSize(source, 1<<20)
	z, err := gzip.NewReader(in)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gzipMembers{in: in, z: z}, nil
}

// Read implements io.Reader.
func (m *gzipMembers) Read(p []byte) (int, error) {
	n, err := m.z.Read(p)
	if errors.Is(err, io.EOF) {
		err = m.next()
	}
	return n, err
}

// next goes on to the next member; io.EOF means that there is none.
func (m *gzipMembers) next() error {
	first, err := m.in.Peek(1)
	if err != nil {
		return err
	}
	if first[0] == 0 {
		return m.padding()
	}
	if err := m.z.Reset(m.in); err != nil {
		return err
	}
	m.z.Multistream(false)
	return nil
}

// padding reads zeros to the end, which is io.EOF; anything else among them is no gzip.
func (m *gzipMembers) padding() error {
	for {
		b, err := m.in.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return gzip.ErrHeader
		}
	}
}

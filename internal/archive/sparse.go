package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Sparse files are packed in GNU tar's format 1.0 (its manual, "Storing Sparse Files"), which GNU tar, libarchive, tar2sqfs and Go's reader read: a PAX header with the
// real name and size, and as content a map of what holds data, and that data. The writer of archive/tar leaves such headers out.
const (
	// fewHoles is how much of a file must be holes to be worth it, in bytes.
	fewHoles = 64 << 10
	// maxExtents bounds the map of a file that a guest has made of nothing but small holes. It is packed in full then.
	maxExtents = 4096
)

// extent is a part of a file that holds data.
type extent struct{ offset, size int64 }

// extents gives what of an open file holds data; nil if it is not worth leaving the rest out. The file is to be read from its beginning then.
func extents(fd int, st *unix.Stat_t) ([]extent, error) {
	if st.Size-st.Blocks*512 < fewHoles {
		return nil, nil
	}
	found, left := findExtents(fd, st), st.Size
	for _, e := range found {
		left -= e.size
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return nil, err
	}
	if left < fewHoles { // st counts what is compressed, too
		return nil, nil
	}
	return found, nil
}

func findExtents(fd int, st *unix.Stat_t) []extent {
	found := []extent{}
	for at := int64(0); at < st.Size; {
		start, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break // only a hole is left
		}
		if err != nil || len(found) == maxExtents {
			return nil
		}
		end, err := unix.Seek(fd, start, unix.SEEK_HOLE)
		if err != nil {
			return nil
		}
		if start = min(start, st.Size); start < min(end, st.Size) {
			found = append(found, extent{start, min(end, st.Size) - start})
		}
		at = end
	}
	return found
}

// sparseMap is the map of a file in the notation of the format, in whole blocks. It ends with an empty extent at the file's end, which says how long
// the last hole is to readers that do not look at the header.
func sparseMap(data []extent, size int64) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n", len(data)+1)
	for _, e := range append(data[:len(data):len(data)], extent{size, 0}) {
		fmt.Fprintf(&b, "%d\n%d\n", e.offset, e.size)
	}
	return padded(b.Bytes())
}

func padded(p []byte) []byte {
	return append(p, make([]byte, (blockSize-len(p)%blockSize)%blockSize)...)
}

// addSparse adds an open file of which only data is to be packed.
func (p *Packer) addSparse(f *os.File, h *tar.Header, data []extent) error {
	if err := p.tw.Flush(); err != nil { // the padding of the member before
		return err
	}
	content := sparseMap(data, h.Size)
	stored := int64(len(content))
	for _, e := range data {
		stored += e.size
	}
	head, err := sparseHeader(h, stored)
	if err != nil {
		return err
	}
	if _, err := p.w.Write(append(head, content...)); err != nil {
		return err
	}
	for _, e := range data {
		n, err := io.CopyBuffer(struct{ io.Writer }{p.w}, contextSection(p, f, e), p.buf)
		if err == nil && n < e.size { // it was cut while it was read: the header cannot be taken back
			_, err = io.CopyN(p.w, ContextReader{p.ctx, zeros{}}, e.size-n)
		}
		if err != nil {
			return err
		}
	}
	_, err = p.w.Write(make([]byte, (blockSize-stored%blockSize)%blockSize))
	return err
}

func contextSection(p *Packer, f *os.File, e extent) io.Reader {
	return ContextReader{p.ctx, io.NewSectionReader(f, e.offset, e.size)}
}

// sparseHeader is the PAX header and the header of a sparse file that takes so many bytes in the archive.
func sparseHeader(h *tar.Header, stored int64) ([]byte, error) {
	records := map[string]string{
		"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": h.Name, "GNU.sparse.realsize": strconv.FormatInt(h.Size, 10),
	}
	for key, value := range h.PAXRecords {
		records[key] = value
	}
	plain := tar.Header{Typeflag: tar.TypeReg, Name: "GNUSparseFile.0/file", Mode: h.Mode, ModTime: h.ModTime, Format: tar.FormatUSTAR}
	if h.ModTime.Unix() < 0 || h.ModTime.Unix() > maxOctal(11) {
		records["mtime"], plain.ModTime = strconv.FormatInt(h.ModTime.Unix(), 10), time.Unix(0, 0)
	}
	for _, n := range []struct {
		key    string
		value  int64
		digits int
		set    func(int64)
	}{
		{"uid", int64(h.Uid), 7, func(n int64) { plain.Uid = int(n) }},
		{"gid", int64(h.Gid), 7, func(n int64) { plain.Gid = int(n) }},
		{"size", stored, 11, func(n int64) { plain.Size = n }},
	} {
		if n.value > maxOctal(n.digits) {
			records[n.key], n.value = strconv.FormatInt(n.value, 10), 0
		}
		n.set(n.value)
	}
	text := paxRecords(records)
	pax, err := ustar(&tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/file", Mode: 0o644, Size: int64(len(text)), Format: tar.FormatUSTAR}, tar.TypeXHeader)
	if err != nil {
		return nil, err
	}
	own, err := ustar(&plain, tar.TypeReg)
	return bytes.Join([][]byte{pax, padded(text), own}, nil), err
}

// maxOctal is the largest number of so many octal digits.
func maxOctal(digits int) int64 { return 1<<(3*digits) - 1 }

// paxRecords encodes records as pax(1) has them: each begins with its own length.
func paxRecords(records map[string]string) []byte {
	keys := make([]string, 0, len(records))
	for key := range records {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	var b bytes.Buffer
	for _, key := range keys {
		rest := " " + key + "=" + records[key] + "\n"
		size := len(rest) + len(strconv.Itoa(len(rest)))
		if longer := len(rest) + len(strconv.Itoa(size)); longer != size {
			size = longer
		}
		b.WriteString(strconv.Itoa(size) + rest)
	}
	return b.Bytes()
}

// ustar is the block of a header, with a type that the library does not let one write.
func ustar(h *tar.Header, kind byte) ([]byte, error) {
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, err
	}
	block := b.Bytes()
	const flag, sum, sumEnd = 156, 148, 156 // where they stand in the block
	block[flag] = kind
	copy(block[sum:sumEnd], "        ")
	total := 0
	for _, c := range block {
		total += int(c)
	}
	copy(block[sum:sumEnd], fmt.Sprintf("%06o\x00 ", total))
	return block, nil
}

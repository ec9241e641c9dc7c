package archive

import (
	"bufio"
	"bytes"
	stdgzip "compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

func needIgzip(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("igzip")
	if err != nil {
		t.Skip("needs igzip (Debian package isal)")
	}
	return path
}

// text is size bytes that compress to about a third.
func text(size int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := []string{"container ", "profile\n", "snapshot, ", "pool "}
	var b bytes.Buffer
	for b.Len() < size {
		if r.IntN(3) == 0 {
			_ = binary.Write(&b, binary.LittleEndian, r.Uint64())
		}
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.Bytes()[:size]
}

func gz(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := stdgzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// with is data with other bits at a place, which counts from the end if it is negative.
func with(data []byte, at int, xor byte) []byte {
	b := bytes.Clone(data)
	b[(at+len(b))%len(b)] ^= xor
	return b
}

// gzipCases are files that begin as gzip does, good and bad; good ones say what is in them.
func gzipCases(t testing.TB) map[string][]byte {
	data := text(3 << 20)
	whole := gz(t, data)
	small, empty := gz(t, []byte("small\n")), gz(t, nil)
	header := func(flags byte, fields string) []byte {
		return join(whole[:3], []byte{flags}, whole[4:10], []byte(fields), whole[10:])
	}
	sum := binary.LittleEndian.AppendUint16(nil, uint16(crc32.ChecksumIEEE(header(2, "")[:10])))
	garbage := []byte("what is this, and what does it do here?")
	return map[string][]byte{
		"one member":                        whole,
		"small":                             small,
		"empty member":                      empty,
		"zeros, at the highest ratio":       gz(t, make([]byte, 64<<20)),
		"two members":                       join(whole, whole),
		"a thousand members":                bytes.Repeat(small, 1000),
		"empty member first":                join(empty, whole),
		"empty member last":                 join(whole, empty),
		"all header fields":                 header(4|8|16, "\x05\x00extraname\x00comment\x00"),
		"header checksum":                   header(2, string(sum)),
		"header checksum wrong":             header(2, string(with(sum, 0, 1))),
		"reserved flag":                     header(0x20, ""),
		"reserved flag in second member":    join(whole, header(0x40, "")),
		"unknown method":                    with(whole, 2, 1),
		"unknown method in second member":   join(whole, with(whole, 2, 1)),
		"a zero after":                      join(whole, []byte{0}),
		"a block of zeros after":            join(whole, make([]byte, 512)),
		"many zeros after":                  join(whole, make([]byte, 3<<20)),
		"a byte after":                      join(whole, garbage[:1]),
		"garbage after":                     join(whole, garbage),
		"a trailer after":                   join(whole, garbage, small[len(small)-8:]),
		"much garbage after":                join(whole, bytes.Repeat(garbage, 100_000)),
		"a magic after":                     join(whole, whole[:2]),
		"a header after":                    join(whole, whole[:10]),
		"member after zeros":                join(whole, make([]byte, 512), small),
		"only the magic":                    whole[:2],
		"cut in the header":                 whole[:7],
		"cut after the header":              whole[:10],
		"cut in the middle":                 whole[:len(whole)/2],
		"cut in the last block":             whole[:len(whole)-9],
		"cut before the trailer":            whole[:len(whole)-8],
		"cut in the trailer":                whole[:len(whole)-4],
		"cut by a byte":                     whole[:len(whole)-1],
		"small, cut by a byte":              small[:len(small)-1],
		"second cut in the header":          join(whole, whole[:7]),
		"second cut in the middle":          join(whole, whole[:len(whole)/2]),
		"second cut by a byte":              join(whole, whole[:len(whole)-1]),
		"wrong checksum":                    with(whole, -8, 1),
		"wrong length":                      with(whole, -1, 1),
		"small, wrong checksum":             with(small, -5, 1),
		"small, wrong length":               with(small, -4, 1),
		"wrong checksum of first of two":    join(with(whole, -8, 1), whole),
		"wrong checksum of second of two":   join(whole, with(whole, -8, 1)),
		"wrong length of second of two":     join(whole, with(whole, -2, 1)),
		"a bit wrong at the beginning":      with(whole, 200, 0x10),
		"a bit wrong in the middle":         with(whole, len(whole)/2, 0x10),
		"a bit wrong in the middle of two":  join(whole, with(whole, len(whole)/2, 0x10)),
		"a bit wrong before the trailer":    with(whole, -9, 0x10),
		"good bytes, and a bit wrong later": join(small, with(whole, len(whole)-len(whole)/8, 1)),
	}
}

// inProcess and byIgzip are the two ways to read gzip, whatever the size.
func inProcess(_ context.Context, f *os.File, size int64) (io.Reader, func() error, error) {
	z, err := newGzip(io.NewSectionReader(f, 0, size))
	return z, func() error { return nil }, err
}

func byIgzip(ctx context.Context, f *os.File, size int64) (io.Reader, func() error, error) {
	r := &Reader{Format: Gzip, Size: size}
	err := r.openIgzip(ctx, f, io.NewSectionReader(f, 0, size))
	if errors.Is(err, errNoIgzip) {
		return nil, nil, fmt.Errorf("igzip was not started: %w", err)
	}
	return r, r.Close, err
}

// read tells everything of a reading: how many bytes of which sum, and how it ended.
func read(t testing.TB, data []byte, open func(context.Context, *os.File, int64) (io.Reader, func() error, error)) string {
	t.Helper()
	f := fileOf(t, data)
	r, end, err := open(context.Background(), f, int64(len(data)))
	if err != nil {
		return fmt.Sprintf("not opened: %v", err)
	}
	sum := crc32.NewIEEE()
	n, err := io.Copy(sum, r)
	if endErr := end(); endErr != nil {
		t.Errorf("end: %v", endErr)
	}
	if err != nil {
		// How much comes before an error is each reader's own, and nobody's who asks for the whole.
		return fmt.Sprintf("error: %v", err)
	}
	return fmt.Sprintf("%d bytes, sum %08x", n, sum.Sum32())
}

func TestIgzipReadsWhatTheLibraryReadsAndRefusesWhatItRefuses(t *testing.T) {
	needIgzip(t)
	accepted := 0
	for name, data := range gzipCases(t) {
		t.Run(name, func(t *testing.T) {
			want, got := read(t, data, inProcess), read(t, data, byIgzip)
			if got != want {
				t.Errorf("igzip: %s; library: %s", got, want)
			}
			if strings.Contains(want, "bytes, sum") {
				accepted++
			}
		})
	}
	if accepted != 13 {
		t.Errorf("%d files were accepted, not 13", accepted)
	}
}

func TestMembersAreReadAsTheLibraryReadsThemAndZerosMayFollow(t *testing.T) {
	padded := map[string]bool{"a zero after": true, "a block of zeros after": true, "many zeros after": true}
	library := func(_ context.Context, f *os.File, size int64) (io.Reader, func() error, error) {
		z, err := gzip.NewReader(bufio.NewReader(io.NewSectionReader(f, 0, size)))
		return z, func() error { return nil }, err
	}
	cases := gzipCases(t)
	for name, data := range cases {
		t.Run(name, func(t *testing.T) {
			same := data
			if padded[name] {
				same = cases["one member"]
			}
			if want, got := read(t, same, library), read(t, data, inProcess); got != want {
				t.Errorf("by members: %s; library: %s", got, want)
			}
		})
	}
}

// fakeIgzip puts a script in igzip's place; what it calls igzip is the true one.
func fakeIgzip(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	script = "#!/bin/sh\nigzip() { " + needIgzip(t) + " \"$@\"; }\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, "igzip"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // it runs as nobody
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestTheLibraryGoesOnWhereIgzipFails(t *testing.T) {
	whole := gz(t, text(3<<20))
	two := join(whole, gz(t, text(1<<20)))
	cases := map[string]struct{ script, wrong string }{
		"dies at once":          {"exit 1", ""},
		"dies later":            {"igzip -dc | head -c 1000000; exit 1", ""},
		"is killed":             {"igzip -dc | head -c 1000000; kill -KILL $$", ""},
		"stops and says well":   {"igzip -dc | head -c 1000000", ""},
		"gives nothing":         {"exit 0", ""},
		"dies after everything": {"igzip -dc; exit 1", ""},
		"gives other bytes":     {"head -c 1000000 /dev/zero", "igzip gives other bytes"},
		"gives more":            {"igzip -dc; echo more", "igzip gives other bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			fakeIgzip(t, c.script)
			for _, data := range [][]byte{whole, two, whole[:len(whole)-1]} {
				want, got := read(t, data, inProcess), read(t, data, byIgzip)
				if got != want && (c.wrong == "" || !strings.Contains(got, c.wrong)) {
					t.Errorf("igzip: %s; library: %s", got, want)
				}
			}
			noChildren(t)
		})
	}
}

// noChildren expects that every process that was started is gone and waited for.
func noChildren(t *testing.T) {
	t.Helper()
	err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	if !errors.Is(err, unix.ECHILD) {
		t.Errorf("a process was left: %v", err)
	}
}

func TestIgzipIsForLargeFilesAndNotNeeded(t *testing.T) {
	noise := make([]byte, igzipFrom)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	small, large := gz(t, noise[:igzipFrom/2]), gz(t, noise)
	open := func(ctx context.Context, f *os.File, _ int64) (io.Reader, func() error, error) {
		r, err := Open(ctx, f, nil)
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	t.Run("used", func(t *testing.T) {
		fakeIgzip(t, "echo other bytes")
		if got, want := read(t, small, open), read(t, small, inProcess); got != want {
			t.Errorf("a small file: %s; library: %s", got, want)
		}
		if got := read(t, large, open); !strings.Contains(got, "igzip gives other bytes") {
			t.Errorf("a large file: %s", got)
		}
	})
	t.Run("missing", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if got, want := read(t, large, open), read(t, large, inProcess); got != want {
			t.Errorf("without igzip: %s; library: %s", got, want)
		}
	})
}

func TestGzipIsGivenUpWithoutAProcessLeft(t *testing.T) {
	needIgzip(t)
	f := fileOf(t, gz(t, text(32<<20)))
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	for _, cancelled := range []bool{false, true} {
		for _, after := range []int64{0, 1, 3 << 20, 32 << 20} {
			t.Run(fmt.Sprintf("cancelled %v after %d", cancelled, after), func(t *testing.T) {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				r, end, err := byIgzip(ctx, f, info.Size())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, r, after); err != nil {
					t.Fatal(err)
				}
				if cancelled {
					cancel()
					if _, err := io.Copy(io.Discard, r); after < 16<<20 && !errors.Is(err, context.Canceled) {
						t.Errorf("read after cancel: %v", err)
					}
				}
				if err := end(); err != nil {
					t.Errorf("end: %v", err)
				}
				noChildren(t)
			})
		}
	}
}

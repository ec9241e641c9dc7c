package image

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"mime/multipart"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/diskspace"
	"github.com/berthd/berth/internal/journal"
	"github.com/berthd/berth/internal/project"
)

// Kinds of journal entries.
const (
	kindUpload = "image.upload" // a folder in images/ that holds an upload
	kindFiles  = "image.files"  // files in images/ that may have no record
)

type uploadEntry struct {
	Name string `json:"name"` // of the folder
}

type filesEntry struct {
	Fingerprint string `json:"fingerprint"`
	// Files is what they are called, and Prepared what pools call their copies; in entries of earlier daemons, both by the fingerprint.
	Files    string `json:"files,omitempty"`
	Prepared string `json:"prepared,omitempty"`
	// Import tells that the files are about to be put in place, not to be removed; Before lists those that were there already.
	Import bool     `json:"import,omitempty"`
	Before []string `json:"before,omitempty"`
}

func (e filesEntry) files() string    { return cmp.Or(e.Files, e.Fingerprint) }
func (e filesEntry) prepared() string { return cmp.Or(e.Prepared, e.Fingerprint) }

// Received is an image's files as they came in, in a folder of their own, with what they hash to.
type Received struct {
	Fingerprint string
	Size        int64
	Split       bool
	Filename    string // the root file system's own name, when the upload gave one
	metaName    string // and that of the metadata
	metaSize    int64
	vm          bool

	dir   string
	entry *journal.Entry
	sum   hash.Hash
	max   int64
	room  *project.Reservation // in the project that it is for
	place int64                // bytes of the image in whose place it comes: these the project has already
}

// receive makes the folder of an upload for a project. It is to end in Import or Discard.
func (s *Service) receive(ctx context.Context, of string) (*Received, error) {
	name := "upload-" + uuid.NewString()
	entry, err := s.Journal.Begin(ctx, kindUpload, uploadEntry{Name: name})
	if err != nil {
		return nil, err
	}
	r := &Received{dir: filepath.Join(s.Dir, name), entry: entry, sum: sha256.New(), max: s.MaxSize, room: s.Projects.Reserve("image creation", s.Home(of))}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, errors.Join(fmt.Errorf("receive image: %w", err), entry.Close(ctx))
	}
	return r, nil
}

// Discard removes what was received and not imported.
func (r *Received) Discard(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	defer r.room.Release()
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("discard image: %w", err)
	}
	return r.entry.Close(ctx)
}

func (s *Service) undoUpload(_ context.Context, data json.RawMessage) error {
	var entry uploadEntry
	if err := json.Unmarshal(data, &entry); err != nil {
		return fmt.Errorf("journal entry: %w", err)
	}
	if !strings.HasPrefix(entry.Name, "upload-") || strings.ContainsRune(entry.Name, '/') {
		return fmt.Errorf("journal entry names %q", entry.Name)
	}
	return os.RemoveAll(filepath.Join(s.Dir, entry.Name))
}

// ReceiveFile takes a unified image for a project from body. It ends where the project may have no more.
func (s *Service) ReceiveFile(ctx context.Context, of string, body io.Reader) (*Received, error) {
	return s.receiveBy(ctx, of, 0, func(r *Received) error { return r.store(ctx, "meta", body) })
}

// ReceiveParts is ReceiveFile for a split image from a multipart body: a part "metadata", then "rootfs" (or "rootfs.img" of a virtual machine).
func (s *Service) ReceiveParts(ctx context.Context, of string, parts *multipart.Reader) (*Received, error) {
	return s.receiveBy(ctx, of, 0, func(r *Received) error { return r.storeParts(ctx, parts) })
}

// receiveBy receives what take stores of it, in the place of an image of so many bytes.
func (s *Service) receiveBy(ctx context.Context, of string, place int64, take func(*Received) error) (*Received, error) {
	r, err := s.receive(ctx, of)
	if err != nil {
		return nil, err
	}
	r.place = place
	if err := take(r); err != nil {
		return nil, errors.Join(err, r.Discard(ctx))
	}
	r.finish()
	return r, nil
}

// reserveStep is by how much room is asked for while an upload comes, in bytes: what is asked for and not used, others cannot have.
const reserveStep = 1 << 20

// reserving writes as much of an upload as its project may have.
type reserving struct {
	w    io.Writer
	r    *Received
	n    int64 // bytes of the upload
	room int64 // of them asked for
	// refused is why there may not be more.
	refused error
}

func (w *reserving) Write(b []byte) (int, error) {
	if need := w.n + int64(len(b)); need > w.room {
		w.room = need + reserveStep
		if w.r.room.Grow(max(0, w.room-w.r.place)) != nil { // as much as that there may not be
			w.room = need
			if w.refused = w.r.room.Grow(max(0, need-w.r.place)); w.refused != nil {
				return 0, w.refused
			}
		}
	}
	n, err := w.w.Write(b)
	w.n += int64(n)
	return n, err
}

func (r *Received) storeParts(ctx context.Context, parts *multipart.Reader) error {
	meta, err := parts.NextPart()
	if err != nil {
		return api.BadRequest("Invalid multipart image: %w", err)
	}
	if meta.FormName() != "metadata" {
		return api.BadRequest("Invalid multipart image")
	}
	r.metaName = meta.FileName()
	if err := r.store(ctx, "meta", meta); err != nil {
		return err
	}
	r.metaSize = r.Size
	rootfs, err := parts.NextPart()
	if err != nil {
		return api.BadRequest("Invalid multipart image: %w", err)
	}
	switch rootfs.FormName() {
	case "rootfs":
	case "rootfs.img":
		r.vm = true
	default:
		return api.BadRequest("Invalid multipart image")
	}
	r.Split, r.Filename = true, rootfs.FileName()
	return r.store(ctx, "rootfs", rootfs)
}

// fileMode is that of an image's files. They lie in images/, which is closed to all but root; a program that reads one for the daemon runs
// as nobody, and has to open it by the descriptor that it is given.
const fileMode = 0o644

// roomFor is the space for a file in the images' folder.
func roomFor(path string) *diskspace.Room {
	return diskspace.New(filepath.Dir(path), "the file system of the images' folder", 0)
}

// store writes one file of the upload, and hashes it on the way.
func (r *Received) store(ctx context.Context, name string, body io.Reader) error {
	f, err := os.OpenFile(filepath.Join(r.dir, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("receive image: %w", err)
	}
	defer f.Close()
	limited := io.LimitReader(archive.ContextReader{Ctx: ctx, R: body}, r.max-r.Size+1)
	out := diskspace.Writer{W: io.MultiWriter(f, r.sum), Room: roomFor(f.Name())}
	reserved := &reserving{w: out, r: r, n: r.Size}
	n, err := io.CopyBuffer(reserved, limited, make([]byte, 1<<20))
	if reserved.refused != nil {
		return reserved.refused
	}
	if r.Size += n; r.Size > r.max {
		return api.BadRequest("Image is larger than %d bytes", r.max)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return fmt.Errorf("receive image: %w", err)
	}
	return nil
}

// adopt makes the file of our own making that f reads the upload's only file.
func (r *Received) adopt(ctx context.Context, f *os.File) error {
	n, err := io.CopyBuffer(r.sum, struct{ io.Reader }{archive.ContextReader{Ctx: ctx, R: f}}, make([]byte, 1<<20))
	if err == nil {
		err = r.room.Grow(n)
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(r.dir, "meta"))
	}
	if err != nil {
		return fmt.Errorf("receive image: %w", err)
	}
	r.Size = n
	r.finish()
	return nil
}

func (r *Received) finish() {
	r.Fingerprint = hex.EncodeToString(r.sum.Sum(nil))
	_ = r.room.Grow(max(0, r.Size-r.place)) // less than before: what may be wrong with it by now, Admit says
}

func (r *Received) open(name string) (*os.File, error) {
	f, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	return f, nil
}

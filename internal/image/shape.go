package image

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/store"
)

// A fingerprint is the hash of an image's files one behind the other. It does not say where the first ends: a unified image and the same bytes as
// two files, cut anywhere, share one, and are other systems. Whoever knows the bytes can make all of them. So what is on disk goes by the fingerprint
// and the shape of the files, and what has one shape is never put in the place of what has another.

// shapeUnified is the shape of a unified image. That of a split one is the length of its first file, in bytes, with shapeVM behind it where the second is
// the disk of a virtual machine.
const (
	shapeUnified = "unified"
	shapeVM      = "-vm"
)

// shape is that of received files.
func (r *Received) shape() string {
	switch {
	case !r.Split:
		return shapeUnified
	case r.vm:
		return strconv.FormatInt(r.metaSize, 10) + shapeVM
	}
	return strconv.FormatInt(r.metaSize, 10)
}

// shape is that of an image's files; "" for a split image of an earlier daemon, which did not note it.
func (r *record) shape() string {
	if r.Shape == "" && !r.Split {
		return shapeUnified
	}
	return r.Shape
}

// files is what an image's files are called in images/, of which the second has ".rootfs" behind it.
func (r *record) files(fingerprint string) string {
	if r.Files != "" {
		return r.Files
	}
	return fingerprint
}

// prepared is what pools call their copies of an image. Those of earlier daemons are called by the fingerprint alone, and are for their records only: nobody
// knows from which shape they were made.
func (r *record) prepared(fingerprint string) string {
	if r.Shape == "" {
		return fingerprint
	}
	return fingerprint + "." + r.Shape
}

// left are the files and copies of an image that is to go.
func (r *record) left(fingerprint string) filesEntry {
	return filesEntry{Fingerprint: fingerprint, Files: r.files(fingerprint), Prepared: r.prepared(fingerprint)}
}

// nameFor is what the files of an upload are to be called: by the fingerprint alone, as LXD has it, unless an image of another shape has that name. The
// caller holds the image.
func (s *Service) nameFor(r *Received) string {
	for _, row := range s.images.List() {
		if row.Path[1] == r.Fingerprint && row.Value.files(r.Fingerprint) == r.Fingerprint && row.Value.shape() != r.shape() {
			return r.Fingerprint + "." + r.shape()
		}
	}
	return r.Fingerprint
}

// paths are those of the files that go by a name, of which a unified image has the first alone.
func (s *Service) paths(name string) []string {
	return []string{filepath.Join(s.Dir, name), filepath.Join(s.Dir, name+".rootfs")}
}

// open opens an image's files, which are certainly its own: an image that was deleted and made anew in between, maybe in another shape, is not found.
func (s *Service) open(row store.Row[record]) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			files = nil
		}
	}()
	paths := s.paths(row.Value.files(row.Path[1]))
	if !row.Value.Split {
		paths = paths[:1]
	}
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return files, fmt.Errorf("open image: %w", err)
		}
		files = append(files, f)
	}
	now, ok := s.images.Get(row.Path...)
	if !ok || !now.Value.UploadedAt.Equal(row.Value.UploadedAt) || now.Value.Shape != row.Value.Shape || now.Value.Files != row.Value.Files {
		return files, api.NotFound("%s", errNotFound)
	}
	return files, nil
}

// Prepared is what pools are to call their copy of an image, which is not that of another image with the same fingerprint.
func (s *Service) Prepared(project, fingerprint string) (string, error) {
	row, err := s.find(project, fingerprint)
	if err != nil {
		return "", err
	}
	return row.Value.prepared(row.Path[1]), nil
}

package image

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"os"
	"sync"

	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/store"
)

// ExportFile is one file of an image, ready to be sent. Close it.
type ExportFile struct {
	*os.File
	Part string // form name in a multipart answer: metadata, rootfs or rootfs.img
	Name string // file name for the client
}

// Export opens the files of an image: one of a unified image, two of a split one.
func (s *Service) Export(ctx context.Context, project, name string) ([]ExportFile, error) {
	row, err := s.find(project, name)
	if err != nil {
		return nil, err
	}
	opened, err := s.open(row)
	if err != nil {
		return nil, err
	}
	fingerprint := row.Path[1]
	files := []ExportFile{{File: opened[0], Part: "metadata", Name: fingerprint + extension(opened[0])}}
	if row.Value.Split {
		rootfs := opened[1]
		part := "rootfs"
		if row.Value.Type == TypeVM {
			part = "rootfs.img"
		}
		files[0].Name = "meta-" + files[0].Name
		files = append(files, ExportFile{File: rootfs, Part: part, Name: fingerprint + extension(rootfs)})
	}
	s.Events.Lifecycle(ctx, row.Path[0], "image-retrieved", urlOf(row.Path...), nil)
	return files, nil
}

func extension(f *os.File) string {
	format, err := archive.DetectFile(f)
	if err != nil {
		return ""
	}
	return format.Extension()
}

// secrets are the one-time keys with which another server may fetch an image that is not public.
type secrets struct {
	mu    sync.Mutex
	valid map[string]string // secret -> project and fingerprint
}

// Secret gives the operation whose secret lets whoever has it export the image, while the operation lives.
func (s *Service) Secret(ctx context.Context, project, name string) (*operation.Task, error) {
	row, err := s.find(project, name)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 32)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	secret := hex.EncodeToString(raw)
	s.secrets.add(secret, row.Path[0]+"/"+row.Path[1]) // it opens the image as soon as it is told; who is never told cannot use it
	url := urlOf(row.Path...)
	s.Events.Lifecycle(ctx, row.Path[0], "image-secret-created", url, nil)
	return &operation.Task{
		Class:       operation.ClassToken,
		Description: "Image download token",
		Resources:   map[string][]string{"images": {url}},
		Metadata:    map[string]any{"secret": secret},
		Run: func(ctx context.Context, _ operation.Progress) error {
			defer s.secrets.remove(secret)
			<-ctx.Done()
			return ctx.Err()
		},
	}, nil
}

// Visible gives the fingerprint of the image that a name, which may be the start of one, means to whoever sees those alone that are public or opened by
// the secret: others are to them as if they did not exist.
func (s *Service) Visible(_ context.Context, project, name, secret string) (fingerprint string, err error) {
	row, err := s.findAmong(project, name, func(row store.Row[record]) bool {
		return row.Value.Public || s.secrets.opens(secret, row.Path[0]+"/"+row.Path[1])
	})
	if err != nil {
		return "", err
	}
	return row.Path[1], nil
}

func (s *secrets) add(secret, image string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.valid == nil {
		s.valid = map[string]string{}
	}
	s.valid[secret] = image
}

func (s *secrets) remove(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.valid, secret)
}

func (s *secrets) opens(secret, image string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for known, target := range s.valid {
		if target == image && subtle.ConstantTimeCompare([]byte(known), []byte(secret)) == 1 {
			return true
		}
	}
	return false
}

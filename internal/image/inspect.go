package image

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/archive"
)

// description is what an image's files say about it.
type description struct {
	metadata *api.ImageMetadata
	vm       bool
}

// inspect reads the metadata of received files and makes sure that they are archives at all.
func (r *Received) inspect(ctx context.Context) (*description, error) {
	meta, err := r.open("meta")
	if err != nil {
		return nil, err
	}
	defer meta.Close()
	d, err := inspectMeta(ctx, meta, r.Split)
	if err != nil {
		return nil, err
	}
	if !r.Split {
		return d, nil
	}
	d.vm = r.vm
	rootfs, err := r.open("rootfs")
	if err != nil {
		return nil, err
	}
	defer rootfs.Close()
	format, err := archive.DetectFile(rootfs)
	if d.vm {
		if err != nil && !errors.Is(err, archive.ErrFormat) || err == nil && format != archive.Qcow2 {
			return nil, api.BadRequest("Virtual machine disk is neither raw nor qcow2")
		}
		return d, nil
	}
	if err != nil || format == archive.Qcow2 {
		return nil, api.BadRequest("Unsupported compression")
	}
	return d, nil
}

// inspectTime bounds the search for metadata.yaml. Honest images have it among their first entries; others can grow without end while they
// are read, and take no space by it.
const inspectTime = 30 * time.Minute

// inspectMeta looks through an archive for metadata.yaml and, in a unified one, for what kind of root there is.
func inspectMeta(ctx context.Context, f *os.File, split bool) (*description, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	var text []byte
	root, vm := split, false
	err := archive.Scan(ctx, f, func(name string, kind archive.Kind, size int64, content io.Reader) (bool, error) {
		switch {
		case name == "metadata.yaml":
			if kind != archive.File || size > MaxMetadata || text != nil {
				return false, api.BadRequest("Metadata tarball has an unusable metadata.yaml")
			}
			data, err := io.ReadAll(io.LimitReader(content, MaxMetadata+1))
			if err != nil {
				return false, err
			}
			text = append([]byte{}, data...)
		case name == "rootfs" || strings.HasPrefix(name, "rootfs/"):
			root = true
		case name == "rootfs.img":
			root, vm = true, true
		}
		return text != nil && root, nil
	})
	switch {
	case errors.Is(err, archive.ErrFormat):
		return nil, api.BadRequest("Unsupported compression")
	case errors.Is(err, archive.ErrRefused):
		return nil, api.BadRequest("%w", err)
	case err != nil:
		return nil, err
	case text == nil:
		return nil, api.BadRequest("Metadata tarball is missing metadata.yaml")
	case !root:
		return nil, api.BadRequest("Image has no root file system")
	}
	metadata, err := DecodeMetadata(text)
	if err != nil {
		return nil, err
	}
	return &description{metadata: metadata, vm: vm}, nil
}

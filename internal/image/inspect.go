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
	if !r.Split {
		return inspectMeta(ctx, meta, false)
	}
	rootfs, err := r.open("rootfs")
	if err != nil {
		return nil, err
	}
	defer rootfs.Close()
	// Before the first file is looked through, which may be all of a system.
	if !beginsWithMetadata(ctx, meta) && beginsWithMetadata(ctx, rootfs) {
		return nil, api.BadRequest("Metadata tarball is missing metadata.yaml: it is in the second file, %q, and the first, %q, is the root file system; the metadata comes first",
			r.Filename, r.metaName)
	}
	d, err := inspectMeta(ctx, meta, true)
	if err != nil {
		return nil, err
	}
	d.vm = r.vm
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

// What is looked at of an archive to tell metadata from a root file system: a metadata tarball holds little else.
const (
	beginning     = 16 // entries
	beginningTime = 5 * time.Second
)

// beginsWithMetadata tells whether metadata.yaml is among the first entries of a file; of what is no archive, it is not.
func beginsWithMetadata(ctx context.Context, f *os.File) (found bool) {
	ctx, cancel := context.WithTimeout(ctx, beginningTime)
	defer cancel()
	seen := 0
	_ = archive.Scan(ctx, f, func(name string, kind archive.Kind, _ int64, _ io.Reader) (bool, error) {
		seen++
		found = found || name == "metadata.yaml" && kind == archive.File
		return found || seen == beginning, nil
	})
	return found
}

// inspectTime bounds the search for metadata.yaml. Honest images have it among their first entries; others can grow without end while they
// are read, and take no space by it.
const inspectTime = 30 * time.Minute

// inspectMeta looks through an archive for metadata.yaml and, in a unified one, for what kind of root there is. A member may come again (tar -r), and the last counts, so
// a plain tar file is looked through to its end, which costs a seek for each entry. To inflate a compressed one for that would take as long as to unpack it: there the
// first is taken, as LXD does it.
func inspectMeta(ctx context.Context, f *os.File, split bool) (*description, error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	format, _ := archive.DetectFile(f) // what is no archive, Scan says
	var text []byte
	root, vm := split, false
	err := archive.Scan(ctx, f, func(name string, kind archive.Kind, size int64, content io.Reader) (bool, error) {
		switch {
		case name == "metadata.yaml":
			if kind != archive.File || size > MaxMetadata {
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
		return text != nil && root && format != archive.Tar, nil
	})
	switch {
	case errors.Is(err, archive.ErrFormat):
		return nil, api.BadRequest("Unsupported compression")
	case errors.Is(err, archive.ErrBusy):
		return nil, api.Unavailable("%w", err)
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

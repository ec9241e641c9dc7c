package cli

import (
	"context"
	"os"
	"path/filepath"

	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/image/build"
)

// packImageFolder packs a folder into a temporary file, compressed with xz as lxc does it, and returns its name.
func packImageFolder(ctx context.Context, dir string) (name string, err error) {
	out, err := os.CreateTemp("", "berth_image_*.tar.xz")
	if err != nil {
		return "", err
	}
	defer func() {
		out.Close()
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	compression, err := archive.ParseCompression("xz")
	if err != nil {
		return "", err
	}
	w, err := compression.Compress(ctx, out, nil)
	if err != nil {
		return "", err
	}
	p := archive.NewPacker(ctx, w)
	// The metadata goes first, so that a server finds it without reading the rest.
	if data, readErr := os.ReadFile(filepath.Join(dir, "metadata.yaml")); readErr == nil {
		info, statErr := os.Stat(filepath.Join(dir, "metadata.yaml"))
		if err = statErr; err == nil {
			err = p.AddBytes("metadata.yaml", data, info.ModTime())
		}
	} else {
		err = readErr
	}
	for _, part := range []string{"templates", "rootfs"} {
		full := filepath.Join(dir, part)
		if _, statErr := os.Stat(full); err == nil && (part == "rootfs" || statErr == nil) {
			err = p.AddTree(full, part)
		}
	}
	if err == nil {
		err = p.Close()
	}
	p.Omitted.Warn(ctx, "The image lacks what could not be packed", dir)
	return out.Name(), archive.Finish(w, err)
}

// buildImage builds an image on this machine.
func buildImage(ctx context.Context, out *os.File, b buildArgs, say, detail func(string)) error {
	if b.compression == "" {
		b.compression = build.DefaultCompression(b.name)
	}
	compression, err := archive.ParseCompression(b.compression)
	if err != nil {
		return err
	}
	return build.Build(ctx, out, build.Options{Name: b.name, Variant: b.variant, Mirror: b.mirror, Compression: compression, Progress: say, Detail: detail})
}

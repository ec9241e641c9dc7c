// Package build makes images on this machine: a real Debian from its archive, and a tiny one from the host's busybox.
//
// It runs in the command line client, as root; what it writes is a unified image for any server to import.
package build

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/image"
)

// Options say what to build.
type Options struct {
	Name        string // "debian/12", "debian/bookworm", "busybox"
	Variant     string // debian: minbase (default), buildd, important or standard
	Mirror      string // debian: URL; empty takes the one that this machine's apt uses
	Compression archive.Compression
	// Progress is told what goes on, one short line at a time; Detail gets the many lines between. Both may be nil.
	Progress, Detail func(line string)
}

func (o Options) say(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}

// DefaultCompression is what an image of that name unpacks fastest with: a busybox is too small to gain
// from any, and zstd is read faster than a disk writes.
func DefaultCompression(name string) string {
	if name == "busybox" {
		return "none"
	}
	return "zstd"
}

// Build writes the image to out, an empty file, a device or a pipe. To sync it is the caller's.
func Build(ctx context.Context, out *os.File, o Options) error {
	distribution, release, _ := strings.Cut(o.Name, "/")
	w, err := o.Compression.Compress(ctx, out, nil)
	if err != nil {
		return err
	}
	switch distribution {
	case "busybox":
		err = busybox(w, o)
	case "debian":
		err = debian(ctx, w, release, o)
	default:
		err = fmt.Errorf("cannot build %q: known are busybox and debian/RELEASE", o.Name)
	}
	return archive.Finish(w, err)
}

// architecture is the image's name for what this machine runs.
func architecture() (string, error) {
	if name := image.Architecture(runtime.GOARCH); name != "" {
		return name, nil
	}
	return "", fmt.Errorf("architecture %s is not known", runtime.GOARCH)
}

// Templates that every image has, as LXD's own images have them. Their syntax is that of the instance's template engine.
var templates = map[string]string{
	"hostname.tpl": "{{ container.name }}\n",
	"hosts.tpl": "127.0.0.1\tlocalhost\n127.0.1.1\t{{ container.name }}\n\n" +
		"::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
}

func metadata(properties map[string]string) (*api.ImageMetadata, error) {
	arch, err := architecture()
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	properties["architecture"] = arch
	properties["serial"] = now.Format("20060102_15:04")
	return &api.ImageMetadata{
		Architecture: arch,
		CreationDate: now.Unix(),
		Properties:   properties,
		Templates: map[string]*api.ImageMetadataTemplate{
			"/etc/hostname": {When: []string{"create", "copy", "rename"}, Template: "hostname.tpl", Properties: map[string]string{}},
			"/etc/hosts":    {When: []string{"create", "copy", "rename"}, Template: "hosts.tpl", Properties: map[string]string{}},
		},
	}, nil
}

// writeHead writes metadata.yaml and templates/, which go first so that a server finds them at once.
func writeHead(p *archive.Packer, properties map[string]string) error {
	m, err := metadata(properties)
	if err != nil {
		return err
	}
	text, err := image.EncodeMetadata(m)
	if err != nil {
		return err
	}
	now := time.Now()
	if err := p.AddBytes("metadata.yaml", text, now); err != nil {
		return err
	}
	for _, name := range []string{"hostname.tpl", "hosts.tpl"} {
		if err := p.AddBytes("templates/"+name, []byte(templates[name]), now); err != nil {
			return err
		}
	}
	return nil
}

// tree is a small root file system in memory.
type tree struct {
	tw  *tar.Writer
	now time.Time
	err error
}

func (t *tree) add(h tar.Header, data string) {
	if t.err != nil {
		return
	}
	h.Name, h.Size, h.ModTime = "rootfs/"+h.Name, int64(len(data)), t.now
	if t.err = t.tw.WriteHeader(&h); t.err == nil {
		_, t.err = io.WriteString(t.tw, data)
	}
}

func (t *tree) dir(name string, mode int64) {
	t.add(tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode}, "")
}

func (t *tree) file(name string, mode int64, data string) {
	t.add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode}, data)
}

func (t *tree) link(name, target string) {
	t.add(tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, "")
}

// isStatic tells whether an ELF program needs no other file to run: it names no interpreter.
func isStatic(program []byte) bool {
	return bytes.HasPrefix(program, []byte("\x7fELF")) && !bytes.Contains(program[:min(len(program), 4096)], []byte("/ld-"))
}

var errNoRoot = errors.New("building a Debian image needs root")

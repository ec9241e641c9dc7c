package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/access"
	"github.com/berthd/berth/internal/archive"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/omitted"
	"github.com/berthd/berth/internal/operation"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/request"
	"github.com/berthd/berth/internal/spec"
)

// Publisher gives the content of an instance or a snapshot ("instance/snapshot") to make an image from. It fails if
// there is no such thing (api.NotFound) or it is running (api.BadRequest).
type Publisher func(ctx context.Context, project, name string) (*Content, error)

// Content is a volume held still.
type Content struct {
	Dir      string             // with rootfs/ and, where there are any, templates/
	Metadata *api.ImageMetadata // the instance's own, or made up, with its image.* keys as Properties; the date of creation is set anew
	IDMap    []spec.IDMapEntry  // that the owners of the files are shifted to
	Release  func() error
}

// PublishInstance gives the task that packs an instance or snapshot into an image.
func (s *Service) PublishInstance(ctx context.Context, name, compression string, q Request) (*operation.Task, error) {
	if s.Publish == nil {
		return nil, api.NotImplemented("This server does not publish instances")
	}
	// An image has all that the instance has, whether that may be looked at or not.
	of, _, _ := strings.Cut(name, "/")
	if err := request.Require(ctx, access.CanManageBackups, access.Object{Entity: access.Instance, Project: q.Project, Name: of}); err != nil {
		return nil, err
	}
	if compression == "" && s.Setting != nil {
		compression = s.Setting(q.Project, "images.compression_algorithm")
	}
	if compression == "" {
		compression = "gzip"
	}
	c, err := archive.ParseCompression(compression)
	if err != nil {
		return nil, api.BadRequest("%w", err)
	}
	if err := s.checkProfiles(ctx, q.Project, q.Profiles); err != nil {
		return nil, err
	}
	content, err := s.Publish(ctx, q.Project, name)
	if err != nil {
		return nil, err
	}
	if err := content.Release(); err != nil { // checked; held again for the time that it takes
		return nil, err
	}
	return &operation.Task{
		Description: "Downloading image",
		Run: func(ctx context.Context, p operation.Progress) error {
			return s.publish(ctx, p, name, c, q)
		},
	}, nil
}

func (s *Service) publish(ctx context.Context, p operation.Progress, name string, c archive.Compression, q Request) error {
	content, err := s.Publish(ctx, q.Project, name)
	if err != nil {
		return err
	}
	r, err := s.pack(ctx, p, name, content, c, q)
	if err = errors.Join(err, content.Release()); err != nil {
		if r != nil {
			err = errors.Join(err, r.Discard(ctx))
		}
		return err
	}
	return s.importReceived(ctx, p, r, q)
}

// pack writes a unified image of the content into an upload of our own. What the request does not say of it goes along from the instance: as LXD has it,
// properties that are given replace the instance's.
func (s *Service) pack(ctx context.Context, p operation.Progress, name string, content *Content, c archive.Compression, q Request) (*Received, error) {
	metadata := *content.Metadata
	metadata.CreationDate = time.Now().Unix()
	if q.Properties != nil {
		metadata.Properties = cloneMap(q.Properties)
	}
	if !q.ExpiresAt.IsZero() && q.ExpiresAt.Unix() > 0 {
		metadata.ExpiryDate = q.ExpiresAt.Unix()
	}
	text, err := EncodeMetadata(&metadata)
	if err != nil {
		return nil, err
	}
	r, err := s.receive(ctx, q.Project)
	if err != nil {
		return nil, err
	}
	packed := filepath.Join(r.dir, "packed")
	lacks, err := packUnified(ctx, p, packed, content, text, c)
	if err != nil {
		return r, err
	}
	const kind = "A published image lacks what its instance has"
	entity := project.URL(q.Project, "instances", name)
	if lacks.Count() == 0 {
		omitted.Say(ctx, omitted.Remark{Kind: kind, Entity: entity})
	}
	lacks.Warn(ctx, kind, entity)
	f, err := os.Open(packed)
	if err != nil {
		return r, fmt.Errorf("publish: %w", err)
	}
	defer f.Close()
	if err := r.adopt(ctx, f); err != nil {
		return r, err
	}
	return r, nil
}

// packUnified writes metadata.yaml, templates/ and rootfs/ to a new file, and returns what the format cannot hold.
func packUnified(ctx context.Context, told operation.Progress, path string, content *Content, metadata []byte, c archive.Compression) (*omitted.List, error) {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	defer out.Close()
	w, err := c.Compress(ctx, out, roomFor(path))
	if err != nil {
		return nil, err
	}
	p := archive.NewPacker(ctx, &packProgress{w: w, told: told, start: time.Now()})
	p.IDMap, p.NoACLs = content.IDMap, !c.ACLs()
	err = p.AddBytes("metadata.yaml", metadata, time.Now())
	for _, part := range []string{"templates", "rootfs"} {
		if err != nil {
			break
		}
		full := filepath.Join(content.Dir, part)
		if info, statErr := os.Lstat(full); part == "templates" && (statErr != nil || !info.IsDir()) {
			continue
		}
		err = p.AddTree(full, part)
	}
	if err == nil {
		err = p.Close()
	}
	if err = archive.Finish(w, err); err == nil {
		err = out.Sync()
	}
	return &p.Omitted, err
}

// packProgress tells how much has been packed, before compression. How much it will be is not known without walking through it all.
type packProgress struct {
	w           io.Writer
	told        operation.Progress
	n           int64
	start, last time.Time
}

func (p *packProgress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	if now := time.Now(); now.Sub(p.last) >= 100*time.Millisecond {
		p.last = now
		speed := int64(float64(p.n) / max(now.Sub(p.start), time.Millisecond).Seconds())
		const stage = "create_image_from_container_pack"
		p.told.Update(map[string]any{
			stage + "_progress": fmt.Sprintf("Image pack: %s (%s/s)", config.FormatDecimal(p.n), config.FormatDecimal(speed)),
			"progress":          map[string]string{"processed": strconv.FormatInt(p.n, 10), "speed": strconv.FormatInt(speed, 10), "stage": stage},
		})
	}
	return n, err
}

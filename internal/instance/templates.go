package instance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/image"
	"github.com/berthd/berth/internal/template"
)

// maxMetadata bounds metadata.yaml of an instance, in bytes.
const maxMetadata = 1 << 20

// readBeneath reads a regular file below root, up to limit bytes. It does not block on a FIFO put there as a trap.
func readBeneath(root *os.Root, name string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil {
		return nil, err
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, nil
}

// readMetadata reads metadata.yaml of an instance's volume; an instance without one has empty metadata.
func readMetadata(volume *os.Root) (*api.ImageMetadata, error) {
	data, err := readBeneath(volume, "metadata.yaml", maxMetadata)
	if errors.Is(err, fs.ErrNotExist) {
		return &api.ImageMetadata{}, nil
	}
	if err != nil {
		return nil, err
	}
	return image.DecodeMetadata(data)
}

// applyTemplates renders the templates of a mounted instance: those of the pending trigger (create, copy, rename) and
// those of every start. All are rendered before the first is written.
func (s *Service) applyTemplates(ctx context.Context, i *Instance, e *effective, trigger string) error {
	volume, err := os.OpenRoot(s.Volumes.Path(i.volume()))
	if err != nil {
		return err
	}
	defer volume.Close()
	meta, err := readMetadata(volume)
	if err != nil {
		return fmt.Errorf("Failed to read metadata: %w", err)
	}
	if len(meta.Templates) == 0 {
		return nil
	}
	rootfs, err := volume.OpenRoot("rootfs")
	if err != nil {
		return err
	}
	defer rootfs.Close()
	files, jobs, err := pendingTemplates(ctx, volume, rootfs, i, e, meta, trigger)
	if err != nil {
		return err
	}
	printed, err := template.Render(ctx, jobs)
	if err != nil {
		return fmt.Errorf("Failed applying templates: %w", err)
	}
	return s.writeTemplates(ctx, rootfs, i, e, files, printed)
}

// pendingTemplates finds what is to be rendered now, in the order in which it is written. However many targets the metadata names, what is read for
// them is bounded.
func pendingTemplates(ctx context.Context, volume, rootfs *os.Root, i *Instance, e *effective, meta *api.ImageMetadata, trigger string) (files []templateFile, jobs []template.Job, err error) {
	common := sync.OnceValue(func() template.Vars { return templateVars(i, e) })
	sources := 0
	for _, once := range []string{i.Config["volatile.apply_template"], trigger} {
		if once == "" {
			continue
		}
		for _, target := range slices.Sorted(maps.Keys(meta.Templates)) {
			t := meta.Templates[target]
			if !slices.Contains(t.When, once) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			file, source, err := readTemplate(volume, target, t)
			if err != nil {
				return nil, nil, fmt.Errorf("Failed applying template for %.*s: %w", unix.PathMax, target, err)
			}
			if sources += len(source); sources > template.MaxSources {
				return nil, nil, fmt.Errorf("Failed applying templates: %w", template.ErrSources)
			}
			if file.createOnly {
				if _, err := rootfs.Stat(file.name); err == nil {
					continue
				}
			}
			vars := common()
			vars.Trigger, vars.Path, vars.Properties = once, target, t.Properties
			files, jobs = append(files, file), append(jobs, template.Job{Source: source, Vars: vars})
		}
	}
	return files, jobs, nil
}

// readTemplate gives the file that a template makes, and its source.
func readTemplate(volume *os.Root, target string, t *api.ImageMetadataTemplate) (templateFile, []byte, error) {
	name := strings.TrimPrefix(path.Clean("/"+target), "/")
	if name == "" {
		return templateFile{}, nil, api.BadRequest("template for %q names no file", target)
	}
	if len(name) >= unix.PathMax { // no guest could open it, and each of its folders takes room
		return templateFile{}, nil, api.BadRequest("path is %d bytes long, and may have %d", len(name), unix.PathMax-1)
	}
	if err := checkTemplateName(t.Template); err != nil {
		return templateFile{}, nil, err
	}
	source, err := readBeneath(volume, path.Join("templates", t.Template), template.MaxSource)
	return templateFile{name: name, target: target, createOnly: t.CreateOnly}, source, err
}

// templateVars is what all templates of an instance see.
func templateVars(i *Instance, e *effective) template.Vars {
	return template.Vars{
		Instance: map[string]string{
			"name":         i.Name,
			"type":         string(i.Type),
			"architecture": i.Architecture,
			"privileged":   strconv.FormatBool(config.IsTrue(e.Config["security.privileged"])),
			"ephemeral":    strconv.FormatBool(i.Ephemeral),
		},
		Config:  e.Config,
		Devices: fromDevices(e.Devices),
	}
}

// checkTemplateName holds a template's file name to one path element.
func checkTemplateName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return api.BadRequest("Invalid template filename")
	}
	return nil
}

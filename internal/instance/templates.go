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
	"syscall"

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
	files, jobs, err := pendingTemplates(volume, rootfs, i, e, meta, trigger)
	if err != nil {
		return err
	}
	printed, err := template.Render(ctx, jobs)
	if err != nil {
		return fmt.Errorf("Failed applying templates: %w", err)
	}
	return s.writeTemplates(ctx, rootfs, i, e, files, printed)
}

// pendingTemplates finds what is to be rendered now, in the order in which it is written.
func pendingTemplates(volume, rootfs *os.Root, i *Instance, e *effective, meta *api.ImageMetadata, trigger string) (files []templateFile, jobs []template.Job, err error) {
	for _, once := range []string{i.Config["volatile.apply_template"], trigger} {
		if once == "" {
			continue
		}
		for _, target := range slices.Sorted(maps.Keys(meta.Templates)) {
			t := meta.Templates[target]
			if !slices.Contains(t.When, once) {
				continue
			}
			file, job, err := templateJob(volume, i, e, once, target, t)
			if err != nil {
				return nil, nil, fmt.Errorf("Failed applying template for %s: %w", target, err)
			}
			if _, err := rootfs.Stat(file.name); err == nil && file.createOnly {
				continue
			}
			files, jobs = append(files, file), append(jobs, job)
		}
	}
	return files, jobs, nil
}

func templateJob(volume *os.Root, i *Instance, e *effective, trigger, target string, t *api.ImageMetadataTemplate) (templateFile, template.Job, error) {
	name := strings.TrimPrefix(path.Clean("/"+target), "/")
	if name == "" {
		return templateFile{}, template.Job{}, api.BadRequest("template for %q names no file", target)
	}
	if err := checkTemplateName(t.Template); err != nil {
		return templateFile{}, template.Job{}, err
	}
	source, err := readBeneath(volume, path.Join("templates", t.Template), template.MaxSource)
	if err != nil {
		return templateFile{}, template.Job{}, err
	}
	return templateFile{name: name, target: target, createOnly: t.CreateOnly}, template.Job{Source: source, Vars: template.Vars{
		Trigger: trigger,
		Path:    target,
		Instance: map[string]string{
			"name":         i.Name,
			"type":         string(i.Type),
			"architecture": i.Architecture,
			"privileged":   strconv.FormatBool(config.IsTrue(e.Config["security.privileged"])),
			"ephemeral":    strconv.FormatBool(i.Ephemeral),
		},
		Config:     e.Config,
		Devices:    fromDevices(e.Devices),
		Properties: t.Properties,
	}}, nil
}

// checkTemplateName holds a template's file name to one path element.
func checkTemplateName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
		return api.BadRequest("Invalid template filename")
	}
	return nil
}

package instance

import (
	"context"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/bounded"
	"github.com/berthd/berth/internal/runtime"
)

// Meter is a Runtime that measures what runs.
type Meter interface {
	// Metrics reads the figures of a running instance. What the host does not count is left out.
	Metrics(ctx context.Context, id string) (*runtime.Metrics, error)
}

// Metrics are the figures of one running instance.
type Metrics struct {
	Project, Name string
	Type          api.InstanceType
	runtime.Metrics
	// Root is the file system that the root is on; nil where its pool does not answer.
	Root *FileSystem
}

// FileSystem is the room on a file system, in bytes.
type FileSystem struct {
	Type              string // as the kernel calls it; a number for one without a name here
	Size, Free, Avail uint64
}

// Count is how many instances a project has of a type, whether they run or not.
type Count struct {
	Project string
	Type    api.InstanceType
	N       int
}

// Counts counts the instances of all projects.
func (s *Service) Counts() []Count {
	var counts []Count
	at := map[Count]int{}
	for _, i := range s.rows("") {
		kind := Count{Project: i.Project, Type: i.Type}
		n, ok := at[kind]
		if !ok {
			n = len(counts)
			at[kind], counts = n, append(counts, kind)
		}
		counts[n].N++
	}
	return counts
}

// Measure reads the figures of all that run, in the order of lists. One whose figures do not come in time is left out.
func (s *Service) Measure(ctx context.Context) []Metrics {
	meter, ok := s.Runtime.(Meter)
	if !ok {
		return nil
	}
	var running []*Instance
	for _, i := range s.rows("") {
		if s.running(i) {
			running = append(running, i)
		}
	}
	found := make([]*Metrics, len(running))
	sideBySide(running, func(n int, i *Instance) { found[n] = s.measure(ctx, meter, i) })
	list := make([]Metrics, 0, len(found))
	for _, m := range found {
		if m != nil {
			list = append(list, *m)
		}
	}
	return list
}

func (s *Service) measure(ctx context.Context, meter Meter, i *Instance) *Metrics {
	figures, err := bounded.Do(ctx, &s.live, i.id(), liveTime, func() (*runtime.Metrics, error) { return meter.Metrics(ctx, i.id()) })
	if err != nil {
		s.Log.Debug("metrics", "instance", i.Name, "project", i.Project, "err", err)
		return nil
	}
	m := &Metrics{Project: i.Project, Name: i.Name, Type: i.Type, Metrics: *figures}
	m.Root, err = bounded.Do(ctx, &s.usage, i.id(), liveTime, func() (*FileSystem, error) { return fileSystem(s.Volumes.Path(i.volume())) })
	if err != nil {
		s.Log.Debug("metrics of the root", "instance", i.Name, "project", i.Project, "err", err)
	}
	return m
}

// fileSystemNames are those of the file systems that pools are on.
var fileSystemNames = map[int64]string{
	unix.BTRFS_SUPER_MAGIC: "btrfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.TMPFS_MAGIC: "tmpfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs", unix.F2FS_SUPER_MAGIC: "f2fs", unix.NFS_SUPER_MAGIC: "nfs", unix.FUSE_SUPER_MAGIC: "fuse",
	0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs", 0x00c36400: "ceph",
}

func fileSystem(path string) (*FileSystem, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return nil, err
	}
	name, ok := fileSystemNames[int64(st.Type)] //nolint:unconvert // narrower on some machines
	if !ok {
		name = "0x" + strconv.FormatInt(int64(st.Type), 16)
	}
	size := uint64(st.Bsize)
	return &FileSystem{Type: name, Size: st.Blocks * size, Free: st.Bfree * size, Avail: st.Bavail * size}, nil
}

package instance

import (
	"context"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/berthd/berth/api"
)

// Instances are encoded by the batch: small ones where each needs the kernel, which are shared among the CPUs, or has a history;
// larger ones where a record is all there is to each.
const (
	liveBatch = 8
	keptBatch = 32
)

// WriteList writes a JSON array of the instances that List returns or, if full is set, ListFull. keep chooses by type.
// It makes no objects on the way, and has no more than a few batches in memory.
func (s *Service) WriteList(ctx context.Context, w io.Writer, project string, full bool, keep func(api.InstanceType) bool) error {
	rows, live := []*Instance{}, 0
	for _, i := range s.rows(project) {
		if keep(i.Type) {
			rows = append(rows, i)
			if full && s.running(i) {
				live++
			}
		}
	}
	size, workers := keptBatch, 1
	if full {
		size = liveBatch // each may have hundreds of snapshots
	}
	if live > 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	if _, err := io.WriteString(w, "["); err != nil {
		return err
	}
	err := inOrder((len(rows)+size-1)/size, workers, func(n int, b []byte) []byte {
		for k := n * size; k < min(n*size+size, len(rows)); k++ {
			if k > 0 {
				b = append(b, ',')
			}
			b = s.appendInstance(ctx, b, rows[k], full)
		}
		return b
	}, func(b []byte) error {
		_, err := w.Write(b)
		return err
	})
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, "]")
	return err
}

func (s *Service) appendInstance(ctx context.Context, b []byte, i *Instance, full bool) []byte {
	b = s.viewOf(i).append(b, s.Runtime.Status(i.id()))
	if !full {
		return append(b, '}')
	}
	b = s.state(ctx, i).AppendJSON(append(b, `,"backups":null,"state":`...))
	b = append(b, `,"snapshots":`...)
	snapshots := s.sortedSnapshots(i.Project, i.Name)
	if len(snapshots) == 0 {
		return append(b, `null}`...)
	}
	w := snapshotWriter{profiles: s.Profiles, project: i.Project}
	for n, row := range snapshots {
		b = w.append(append(b, "[,"[min(n, 1)]), row)
	}
	return append(b, `]}`...)
}

// inOrder calls fill for 0 to count-1, as many at a time as there are workers, and take with what each appended to the
// buffer it was given, in order. Few buffers go round: one for each worker, and one that is taken.
func inOrder(count, workers int, fill func(n int, b []byte) []byte, take func([]byte) error) error {
	if workers = min(workers, count); workers <= 1 {
		var b []byte
		for n := range count {
			b = fill(n, b[:0])
			if err := take(b); err != nil {
				return err
			}
		}
		return nil
	}
	free, filled := make(chan []byte, workers+1), make([]chan []byte, count)
	for n := range filled {
		filled[n] = make(chan []byte, 1)
	}
	for range cap(free) {
		free <- nil
	}
	var (
		next atomic.Int64
		wg   sync.WaitGroup
		err  error
	)
	for range workers {
		wg.Go(func() {
			for b := range free { // first a buffer, then a number: the lowest under way always has one
				n := int(next.Add(1)) - 1
				if n >= count {
					return
				}
				filled[n] <- fill(n, b[:0])
			}
		})
	}
	for n := 0; n < count && err == nil; n++ {
		b := <-filled[n]
		err = take(b)
		free <- b
	}
	next.Store(int64(count))
	close(free)
	wg.Wait()
	return err
}

package instance

import (
	"context"
	"io"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/rawjson"
	"github.com/berthd/berth/internal/store"
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
	for _, i := range s.seen(ctx, project) {
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
		one := &instanceWriter{full: full}
		for k := n * size; k < min(n*size+size, len(rows)); k++ {
			if k > 0 {
				b = append(b, ',')
			}
			b = s.appendInstance(ctx, b, rows[k], one)
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

// instanceWriter encodes instances one after another.
type instanceWriter struct {
	full bool // api.InstanceFull, else api.Instance

	// Of the instance that is written:
	status    api.StatusCode
	state     *api.InstanceState
	snapshots []store.Row[Snapshot]
	history   snapshotWriter
}

// instanceForm is api.InstanceFull. Without what that has besides it is api.Instance.
var instanceForm = rawjson.NewForm[api.InstanceFull](map[string]func([]byte, *instanceWriter) []byte{
	"status":      func(b []byte, w *instanceWriter) []byte { return rawjson.AppendString(b, w.status.String()) },
	"status_code": func(b []byte, w *instanceWriter) []byte { return strconv.AppendInt(b, int64(w.status), 10) },
	"backups":     ofFull(func(b []byte, _ *instanceWriter) []byte { return append(b, "null"...) }),
	"state":       ofFull(func(b []byte, w *instanceWriter) []byte { return appendState(b, w.state) }),
	"snapshots": ofFull(func(b []byte, w *instanceWriter) []byte {
		return rawjson.AppendList(b, w.snapshots, w.history.append)
	}),
})

// ofFull leaves a field out that api.Instance has not.
func ofFull(fill func([]byte, *instanceWriter) []byte) func([]byte, *instanceWriter) []byte {
	return func(b []byte, w *instanceWriter) []byte {
		if !w.full {
			return b
		}
		return fill(b, w)
	}
}

func (s *Service) appendInstance(ctx context.Context, b []byte, i *Instance, w *instanceWriter) []byte {
	v := s.viewOf(i)
	w.status = s.Runtime.Status(i.id())
	if w.full {
		w.state, w.snapshots = s.state(ctx, i), s.sortedSnapshots(i.Project, i.Name)
		w.history = snapshotWriter{profiles: s.Profiles, project: i.Project}
	}
	return v.encoded.Append(b, w)
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

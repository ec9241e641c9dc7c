// Package bench measures a daemon by making, starting, stopping and deleting many containers through its API.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// Marker is the configuration key that tells a benchmark's containers from others.
const Marker = "user.berth-bench"

// Bench is one run against one daemon.
type Bench struct {
	Client   *client.Client
	Parallel int
	Out      io.Writer // progress, for a person
	// Limit bounds every single call; a call that takes longer counts as hung and fails the run.
	Limit time.Duration
}

// Result says how one run went.
type Result struct {
	Count   int
	Failed  int // calls that failed, were lost or hung
	Elapsed time.Duration
	Took    []time.Duration // of each item, in the order they ended
	Ended   []time.Duration // since the start, in the same order
}

// Rate is items a second between the items from and to (counted from 0, to excluded), in the order they ended.
func (r Result) Rate(from, to int) float64 {
	if from < 0 || to > len(r.Ended) || from >= to {
		return 0
	}
	begin := time.Duration(0)
	if from > 0 {
		begin = r.Ended[from-1]
	}
	return float64(to-from) / (r.Ended[to-1] - begin).Seconds()
}

// Percentile is the time that p percent of the items took at most; 0 if there are none.
func (r Result) Percentile(p int) time.Duration {
	if len(r.Took) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(r.Took))
	return sorted[min(len(sorted)*p/100, len(sorted)-1)]
}

// Create makes count containers from an image and, if start is set, starts each at once.
func (b *Bench) Create(ctx context.Context, image string, count int, privileged, start, freeze bool) (Result, error) {
	names := make([]string, count)
	for i := range names {
		names[i] = fmt.Sprintf("benchmark-%0*d", len(fmt.Sprint(count)), i+1)
	}
	return b.each(ctx, names, func(c *client.Client, name string) error {
		post := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "image", Alias: image}}
		post.Config = map[string]string{Marker: "true"}
		if privileged {
			post.Config["security.privileged"] = "true"
		}
		op, err := c.CreateInstance(post)
		if err := finish(ctx, op, err); err != nil || !start {
			return err
		}
		if err := b.state(ctx, c, name, "start", false); err != nil || !freeze {
			return err
		}
		return b.state(ctx, c, name, "freeze", false)
	})
}

// Start starts all of a benchmark's containers.
func (b *Bench) Start(ctx context.Context) (Result, error) {
	return b.every(ctx, func(c *client.Client, i api.Instance) error {
		return b.state(ctx, c, i.Name, "start", false)
	})
}

// Stop stops all of a benchmark's containers that run, by force.
func (b *Bench) Stop(ctx context.Context) (Result, error) {
	return b.every(ctx, func(c *client.Client, i api.Instance) error {
		if i.StatusCode == api.Stopped {
			return nil
		}
		return b.state(ctx, c, i.Name, "stop", true)
	})
}

// Delete stops and deletes all of a benchmark's containers.
func (b *Bench) Delete(ctx context.Context) (Result, error) {
	return b.every(ctx, func(c *client.Client, i api.Instance) error {
		if i.StatusCode != api.Stopped {
			if err := b.state(ctx, c, i.Name, "stop", true); err != nil {
				return err
			}
		}
		op, err := c.DeleteInstance(i.Name)
		return finish(ctx, op, err)
	})
}

func (b *Bench) state(ctx context.Context, c *client.Client, name, action string, force bool) error {
	op, err := c.UpdateInstanceState(name, api.InstanceStatePut{Action: action, Force: force, Timeout: 30}, "")
	return finish(ctx, op, err)
}

func finish(ctx context.Context, op *client.Operation, err error) error {
	if err != nil {
		return err
	}
	return op.Wait(ctx)
}

// every runs f for each of a benchmark's containers.
func (b *Bench) every(ctx context.Context, f func(*client.Client, api.Instance) error) (Result, error) {
	instances, err := b.Client.Instances()
	if err != nil {
		return Result{}, err
	}
	mine := map[string]api.Instance{}
	var names []string
	for _, i := range instances {
		if i.Config[Marker] == "true" {
			mine[i.Name] = i
			names = append(names, i.Name)
		}
	}
	return b.each(ctx, names, func(c *client.Client, name string) error { return f(c, mine[name]) })
}

// each runs f for all names, b.Parallel at a time, and measures. All run even if some fail.
func (b *Bench) each(ctx context.Context, names []string, f func(*client.Client, string) error) (Result, error) {
	var (
		mu     sync.Mutex
		failed []error
		wg     sync.WaitGroup
		queue  = make(chan string)
		start  = time.Now()
		result = Result{Count: len(names)}
	)
	for range max(b.Parallel, 1) {
		wg.Go(func() {
			for name := range queue {
				began := time.Now()
				bounded, cancel := context.WithTimeout(ctx, b.Limit)
				err := f(b.Client.WithContext(bounded), name)
				cancel()
				mu.Lock()
				if err != nil {
					failed = append(failed, fmt.Errorf("%s: %w", name, err))
				}
				result.Took = append(result.Took, time.Since(began))
				result.Ended = append(result.Ended, time.Since(start))
				if n := len(result.Ended); n%100 == 0 || n == len(names) {
					fmt.Fprintf(b.Out, "  %d of %d after %.2f s\n", n, len(names), time.Since(start).Seconds())
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range names {
		queue <- name
	}
	close(queue)
	wg.Wait()
	result.Elapsed, result.Failed = time.Since(start), len(failed)
	return result, errors.Join(failed...)
}

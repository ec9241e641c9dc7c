package instance

import (
	"context"
	"sort"
	"sync"
	"time"
)

// StopAll ends every running instance because the daemon shuts down: cleanly, by priority, each within its own
// boot.host_shutdown_timeout, or at once when ctx has ended. They keep their power state, so that the next daemon starts them again.
// It takes no longer than killTime after the end of ctx, whatever the instances do.
func (s *Service) StopAll(ctx context.Context) {
	byPriority := map[int64][]*Instance{}
	for _, i := range s.rows("") {
		if !s.running(i) {
			continue
		}
		c, _ := expand(s.Profiles, i.Project, &i.Body)
		p := Keys.GetInt(c, "boot.stop.priority")
		byPriority[p] = append(byPriority[p], i)
	}
	order := make([]int64, 0, len(byPriority))
	for p := range byPriority {
		order = append(order, p)
	}
	sort.Slice(order, func(a, b int) bool { return order[a] > order[b] })
	killing, cancel := after(ctx, killTime)
	defer cancel()
	for _, p := range order {
		var wg sync.WaitGroup
		for _, i := range byPriority[p] {
			wg.Go(func() { s.stopForShutdown(ctx, killing, i) })
		}
		wg.Wait()
	}
}

// killTime is how long instances may take to be killed once the time for their shutdown is over.
const killTime = 5 * time.Second

// after is a context that ends some time after another one has.
func after(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	later, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(d, cancel)
		context.AfterFunc(later, func() { timer.Stop() })
	})
	return later, func() { stop(); cancel() }
}

func (s *Service) stopForShutdown(ctx, killing context.Context, i *Instance) {
	c, _ := expand(s.Profiles, i.Project, &i.Body)
	if r := s.runs.get(i.id()); r != nil {
		r.atShutdown.Store(true)
	}
	err := s.stop(ctx, i.Project, i.Name, false, shutdownTime(c))
	if err != nil && s.running(i) {
		err = s.stop(killing, i.Project, i.Name, true, 0)
	}
	if err != nil && s.running(i) {
		s.Log.Error("An instance could not be stopped", "instance", i.Name, "project", i.Project, "err", err)
	}
}

// shutdownTime is how long an instance may take to end unless the request gives a time.
func shutdownTime(c map[string]string) time.Duration {
	return max(time.Duration(Keys.GetInt(c, "boot.host_shutdown_timeout"))*time.Second, time.Second)
}

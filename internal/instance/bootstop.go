package instance

import (
	"context"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/lock"
)

// adoptTime is how long the start of a daemon waits, before it lets requests in, for instances whose forced stop one before it had begun.
// A guest, or a disk, can keep processes from dying.
const adoptTime = 5 * time.Second

// goOn does in the background what ends an instance.
func (s *Service) goOn(ends *sync.WaitGroup, end func()) {
	ends.Add(1)
	s.tasks.Go(func() {
		defer ends.Done()
		end()
	})
}

// waitForEnds waits for forced stops, all together, for adoptTime at most. They go on.
func (s *Service) waitForEnds(ends *sync.WaitGroup) {
	done := make(chan struct{})
	s.tasks.Go(func() {
		ends.Wait()
		close(done)
	})
	select {
	case <-done:
	case <-time.After(adoptTime):
		s.Log.Warn("Instances whose forced stop was cut off have not ended yet")
	}
}

// resumeStop resumes a stop that the end of a daemon cut off. If the instance does not end in time it goes on
// running, as after any stop that failed.
func (s *Service) resumeStop(i *Instance) {
	c, _ := expand(s.Profiles, i.Project, &i.Body)
	if err := s.stop(s.background, i.Project, i.Name, i.Stopping == stopForce, shutdownTime(c)); err != nil {
		s.Log.Error("A stop that was cut off could not be finished", "instance", i.Name, "project", i.Project, "err", err)
	}
}

// endLost finishes a forced stop that had got as far as the monitor, without which nothing can be taken over: the clean-up
// ends what is left.
func (s *Service) endLost(i *Instance) {
	for !s.tryEnd(i) && s.pause(retryPause) {
	}
}

// tryEnd tells whether nothing is left to be ended of an instance that others may have changed meanwhile. It gives the instance's lock back
// between two attempts.
func (s *Service) tryEnd(i *Instance) bool {
	row, release, err := s.hold(s.background, i.Project, i.Name, "adopt", lock.Short)
	if err != nil {
		return api.IsNotFound(err)
	}
	defer release()
	if i = row.Value; i.Stopping != stopForce {
		return true
	}
	ctx, cancel := context.WithTimeout(s.background, killTime)
	defer cancel()
	if err := s.Runtime.Cleanup(ctx, i.id(), i.UUID); ctx.Err() != nil {
		s.Log.Error("An instance that should be stopped runs", "instance", i.Name, "project", i.Project, "err", err)
		return false
	}
	s.cleanUpDead(s.background, i, newRun(i, s.liveNow(i)), false)
	return true
}

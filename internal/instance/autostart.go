package instance

import (
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// startPatience is how long a start may take until others are started beside it. It goes on, and holds back only those of its project.
const startPatience = 10 * time.Second

// Autostart starts, in the background, the instances that boot.autostart or their last state asks for: by priority, with their delays, which
// hold back only those of the same project. The channel is closed when it is done with all but those that wait for a delay, that take long, or
// whose pool is not there yet, or that may run already: the last two are tried again.
func (s *Service) Autostart() <-chan struct{} {
	done := make(chan struct{})
	settled := sync.OnceFunc(func() { close(done) })
	s.tasks.Go(func() {
		defer settled()
		left := s.startAll(s.wanted(), settled)
		settled()
		s.goOnStarting(left)
	})
	return done
}

// goOnStarting tries again to start instances, until none is left that is still wanted.
func (s *Service) goOnStarting(left []candidate) {
	for len(left) > 0 && s.pause(retryPause) {
		left = s.startAll(left, func() {})
	}
}

// startLater starts an instance that a change had stopped, which could be finished or undone only now: unless it runs by then, or somebody has
// stopped it since.
func (s *Service) startLater(i *Instance) {
	left := []candidate{{project: i.Project, name: i.Name, uuid: i.UUID, asked: s.runs.asked(i.identity())}}
	s.tasks.Go(func() { s.goOnStarting(left) })
}

// starting is a round of starts.
type starting struct {
	*Service
	list    []candidate         // that have had no turn yet, in order
	waiting map[string]struct{} // projects that are not to have a turn now
	current string              // project of the last start, while that goes on and takes no longer than it should
	ended   chan startEnd
	turns   chan string   // projects whose delay is over
	over    chan struct{} // closed with the round
}

type startEnd struct {
	candidate
	started, later bool
}

// startAll starts instances in order, and one after the other as long as each takes no longer than startPatience; of a project there is never
// more than one at a time, and none within a delay. It returns those that may start later. settled is called when nothing is left to do but to wait
// for delays and for starts that take long.
func (s *Service) startAll(list []candidate, settled func()) (left []candidate) {
	r := &starting{Service: s, list: slices.Clone(list), waiting: map[string]struct{}{}, ended: make(chan startEnd), turns: make(chan string), over: make(chan struct{})}
	defer close(r.over)
	patience := time.NewTimer(startPatience)
	defer patience.Stop()
	for {
		if r.next() {
			patience.Reset(startPatience)
		} else if r.current == "" {
			if len(r.list) == 0 {
				return left // what still goes on sees to itself
			}
			settled()
		}
		select {
		case e := <-r.ended:
			if r.current == e.project {
				r.current = ""
			}
			if e.later {
				left = append(left, e.candidate)
			}
			r.giveTurn(e)
		case project := <-r.turns:
			delete(r.waiting, project)
		case <-patience.C:
			r.current = ""
		case <-s.background.Done():
			return nil
		}
	}
}

// next begins with the first that may have its turn now, if there is one.
func (r *starting) next() bool {
	n := slices.IndexFunc(r.list, func(c candidate) bool { _, waits := r.waiting[c.project]; return !waits })
	if n < 0 {
		return false
	}
	c := r.list[n]
	r.list = slices.Delete(r.list, n, n+1)
	r.waiting[c.project] = struct{}{}
	r.current = c.project
	r.tasks.Go(func() {
		e := startEnd{candidate: c}
		e.started, e.later = r.startOne(c)
		select {
		case r.ended <- e:
		case <-r.over:
			if e.later {
				r.goOnStarting([]candidate{c})
			}
		}
	})
	return true
}

// giveTurn lets a project go on after a start of it, once its delay is over.
func (r *starting) giveTurn(e startEnd) {
	if !e.started || e.delay <= 0 || !slices.ContainsFunc(r.list, func(c candidate) bool { return c.project == e.project }) {
		delete(r.waiting, e.project)
		return
	}
	r.tasks.Go(func() {
		timer := time.NewTimer(e.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.over:
			return
		}
		select {
		case r.turns <- e.project:
		case <-r.over:
		}
	})
}

// startOne starts an instance if that is still wanted. It tells whether it did, and whether it is to be tried again.
func (s *Service) startOne(c candidate) (started, later bool) {
	i, ok := s.stillWanted(c)
	if !ok || s.background.Err() != nil {
		return false, false
	}
	if status := s.Runtime.Status(i.id()); status == api.Running || status == api.Frozen {
		s.pauseAgain(i)
		return false, false
	}
	if s.reachable(i) != nil {
		return false, true
	}
	if err := s.doStart(s.background, c.project, c.name); err != nil {
		s.Log.Error("Failed to start instance", "instance", c.name, "project", c.project, "err", err)
		return false, api.IsUnavailable(err)
	}
	s.pauseAgain(i)
	return true, false
}

// pauseAgain pauses an instance that a change had stopped when the daemon ended, if it was paused before that.
func (s *Service) pauseAgain(i *Instance) {
	if !s.runs.wasPaused(i.identity()) || s.Runtime.Status(i.id()) != api.Running {
		return
	}
	if err := s.freeze(s.background, i.Project, i.Name); err != nil {
		s.Log.Error("An instance could not be paused again", "instance", i.Name, "project", i.Project, "err", err)
	}
}

type candidate struct {
	project, name string
	uuid          string
	asked         int // what users had asked for when it became one
	priority      int64
	delay         time.Duration
}

// stillWanted tells whether a candidate is the same instance, ought to run by its record, and nobody has asked for anything of it since.
func (s *Service) stillWanted(c candidate) (*Instance, bool) {
	row, err := s.get(c.project, c.name)
	if err != nil || row.Value.UUID != c.uuid || s.runs.asked(row.Value.identity()) != c.asked {
		return nil, false
	}
	_, wanted := s.candidate(row.Value)
	return row.Value, wanted
}

// wanted lists what is to be started, in order.
func (s *Service) wanted() []candidate {
	s.runs.pick()
	var all []candidate
	for _, i := range s.rows("") {
		if c, ok := s.candidate(i); ok {
			all = append(all, c)
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].priority > all[b].priority })
	return all
}

// candidate tells whether an instance that does not run is to be started, by its keys or as it ran before; one that runs may have to be paused.
func (s *Service) candidate(i *Instance) (candidate, bool) {
	if i.Creating || i.Stopping != "" || s.running(i) && s.reachable(i) == nil && !s.runs.wasPaused(i.identity()) {
		return candidate{}, false
	}
	c, _ := expand(s.Profiles, i.Project, &i.Body)
	auto, ran := c["boot.autostart"], i.Config["volatile.last_state.power"] == powerRunning
	if !config.IsTrue(auto) && !(ran && (auto == "" || s.runs.isRevived(i.identity()))) {
		return candidate{}, false
	}
	return candidate{
		project: i.Project, name: i.Name, uuid: i.UUID, asked: s.runs.asked(i.identity()),
		priority: Keys.GetInt(c, "boot.autostart.priority"),
		delay:    time.Duration(Keys.GetInt(c, "boot.autostart.delay")) * time.Second,
	}, true
}

package instance

import (
	"context"
	"slices"
	"strconv"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/lock"
	"github.com/berthd/berth/internal/spec"
	"github.com/berthd/berth/internal/store"
)

// nextIDMap is the map the instance is to start with, and its base; nil for a privileged one. An isolated instance
// keeps the block that it has as long as its keys still ask for that size.
func (s *Service) nextIDMap(i *Instance, c map[string]string) ([]spec.IDMapEntry, int64, error) {
	if config.IsTrue(c["security.privileged"]) {
		return nil, 0, nil
	}
	raw, err := idmap.ParseRaw(c["raw.idmap"])
	if err != nil {
		return nil, 0, err
	}
	q := idmap.Request{
		Isolated: config.IsTrue(c["security.idmap.isolated"]),
		Base:     Keys.GetInt(c, "security.idmap.base"),
		Size:     Keys.GetInt(c, "security.idmap.size"),
		Raw:      raw,
	}
	if !q.Isolated {
		return idmap.Allocate(s.Host.IDs, q, nil)
	}
	taken := s.isolatedBlocks(i)
	if q.Base == 0 {
		if kept, ok := keptBlock(i, q.Size); ok && !overlaps(kept, taken) {
			q.Base = kept.Base
		}
	}
	return idmap.Allocate(s.Host.IDs, q, taken)
}

// keptBlock is the block that an isolated instance has and goes on with, if it still asks for one of that size.
func keptBlock(i *Instance, size int64) (idmap.Range, bool) {
	if size == 0 {
		size = idmap.MinCount
	}
	kept, ok := blockOf(i.Config["volatile.idmap.next"])
	return kept, ok && kept.Count == size && strconv.FormatInt(kept.Base, 10) == i.Config["volatile.idmap.base"]
}

// idClaim counts the claims of blocks of IDs. Each commit that gives an instance a block writes it, guarded by the count that
// its choice was made at: of two that chose at the same time, one has to choose again.
type idClaim struct {
	Serial int64 `json:"serial"`
}

// claimIDs makes an isolated instance's block of IDs its own: it chooses anew what e has been given, while nobody else does,
// and returns what is to be committed with the record before release. For others, and for one that keeps the block which the
// record, nil for a new instance, has, there is nothing to claim.
func (s *Service) claimIDs(ctx context.Context, record, i *Instance, e *effective) (ops []store.Op, release func(), err error) {
	if !e.isolated() || record != nil && sameBlock(record, e) {
		return nil, func() {}, nil
	}
	held, err := s.Locks.Acquire(ctx, lock.Claim{Action: "claim", Brief: true, Patience: lock.Long}, lock.Exclusive(lock.ForIDs()))
	if err != nil {
		return nil, nil, err
	}
	if e.IDMap, e.IDBase, err = s.nextIDMap(i, e.Config); err != nil {
		held.Release()
		return nil, nil, err
	}
	const host = "host"
	row, ok := s.idClaims.Get(host)
	if !ok {
		return []store.Op{s.idClaims.Create(&idClaim{Serial: 1}, host)}, held.Release, nil
	}
	return []store.Op{s.idClaims.Replace(row, &idClaim{Serial: row.Value.Serial + 1})}, held.Release, nil
}

// isolated tells whether an instance has a block of IDs of its own.
func (e *effective) isolated() bool {
	return config.IsTrue(e.Config["security.idmap.isolated"]) && !config.IsTrue(e.Config["security.privileged"])
}

// sameBlock tells whether the block that e was given is the one that an instance has.
func sameBlock(i *Instance, e *effective) bool {
	has, ok := blockOf(i.Config["volatile.idmap.next"])
	given, _ := blockOf(idmap.Encode(e.IDMap))
	return ok && has == given && strconv.FormatInt(has.Base, 10) == i.Config["volatile.idmap.base"]
}

// isolatedBlocks lists the blocks of the other isolated instances: those of their next start, those they run with,
// and those that own their files.
func (s *Service) isolatedBlocks(but *Instance) []idmap.Range {
	taken := slices.Clone(s.promised)
	for _, row := range s.instances.List() {
		i := row.Value
		// It may be on its way to another name or project.
		if i.UUID != "" && i.UUID == but.UUID || i.Project == but.Project && i.Name == but.Name {
			continue
		}
		for _, key := range []string{"volatile.idmap.next", "volatile.idmap.current", lastIDMap} {
			r, ok := blockOf(i.Config[key])
			if ok && r.Base != s.Host.IDs.UID.Base && !slices.Contains(taken, r) {
				taken = append(taken, r)
			}
		}
	}
	return taken
}

// blockOf finds the block of IDs behind a map, as the volatile keys hold it. raw.idmap may have cut holes into the block and
// added entries of other IDs, so it goes by the largest entry.
func blockOf(text string) (idmap.Range, bool) {
	m, err := idmap.Decode(text)
	if err != nil || len(m) == 0 {
		return idmap.Range{}, false
	}
	largest := m[0]
	for _, e := range m {
		if e.UID && e.Count > largest.Count {
			largest = e
		}
	}
	base := largest.HostID - largest.NSID
	end := base
	for _, e := range m {
		if e.UID && e.HostID-e.NSID == base {
			end = max(end, e.HostID+e.Count)
		}
	}
	return idmap.Range{Base: base, Count: end - base}, end > base
}

func overlaps(r idmap.Range, others []idmap.Range) bool {
	for _, o := range others {
		if r.Base < o.Base+o.Count && o.Base < r.Base+r.Count {
			return true
		}
	}
	return false
}

// setIDMap writes the volatile keys of the next start's map.
func setIDMap(c map[string]string, e *effective) {
	c["volatile.idmap.base"] = strconv.FormatInt(e.IDBase, 10)
	c["volatile.idmap.next"] = idmap.Encode(e.IDMap)
	setDefault(c, "volatile.last_state.idmap", "[]")
}

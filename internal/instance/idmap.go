package instance

import (
	"strconv"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/idmap"
	"github.com/berthd/berth/internal/spec"
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
		size := q.Size
		if size == 0 {
			size = idmap.MinCount
		}
		if kept, ok := isolatedBlock(i); ok && kept.Count == size && !overlaps(kept, taken) {
			q.Base = kept.Base
		}
	}
	return idmap.Allocate(s.Host.IDs, q, taken)
}

// isolatedBlocks lists the blocks that the other isolated instances have.
func (s *Service) isolatedBlocks(but *Instance) []idmap.Range {
	var taken []idmap.Range
	for _, row := range s.instances.List() {
		i := row.Value
		if i.Project == but.Project && i.Name == but.Name {
			continue
		}
		if r, ok := isolatedBlock(i); ok {
			taken = append(taken, r)
		}
	}
	return taken
}

// isolatedBlock is the block an instance was given, read from its volatile keys.
func isolatedBlock(i *Instance) (idmap.Range, bool) {
	base, err := strconv.ParseInt(i.Config["volatile.idmap.base"], 10, 64)
	if err != nil || base == 0 {
		return idmap.Range{}, false
	}
	m, err := idmap.Decode(i.Config["volatile.idmap.next"])
	if err != nil {
		return idmap.Range{}, false
	}
	end := base
	for _, e := range m { // raw.idmap may have cut holes into the block
		if e.UID && e.HostID == base+e.NSID {
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

package idmap

import (
	"encoding/json"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/spec"
)

// Request is what an instance's configuration asks of its map.
type Request struct {
	Isolated bool              // security.idmap.isolated
	Base     int64             // security.idmap.base; 0: found automatically
	Size     int64             // security.idmap.size; 0: 65536 when isolated
	Raw      []spec.IDMapEntry // raw.idmap, parsed
}

// Allocate makes the map of an instance and says where it begins (volatile.idmap.base: 0 for the range that all
// share). taken are the ranges of the other isolated instances; when Base is given they are not looked at.
func Allocate(h Host, q Request, taken []Range) ([]spec.IDMapEntry, int64, error) {
	uid, gid := h.UID, h.GID
	base := int64(0)
	if q.Isolated {
		r, err := isolated(h, q, taken)
		if err != nil {
			return nil, 0, err
		}
		uid, gid, base = r, r, r.Base
	}
	var m []spec.IDMapEntry
	if uid == gid {
		m = []spec.IDMapEntry{{UID: true, GID: true, HostID: uid.Base, Count: uid.Count}}
	} else {
		m = []spec.IDMapEntry{{UID: true, HostID: uid.Base, Count: uid.Count}, {GID: true, HostID: gid.Base, Count: gid.Count}}
	}
	for _, e := range q.Raw {
		var err error
		if m, err = insert(m, e); err != nil {
			return nil, 0, err
		}
	}
	return normalise(m), base, nil
}

// isolated finds a range of its own: the first gap behind the IDs that instances share.
func isolated(h Host, q Request, taken []Range) (Range, error) {
	size := q.Size
	if size == 0 {
		size = MinCount
	}
	if size < 0 || q.Base < 0 || size >= maxID || q.Base >= maxID-size {
		return Range{}, api.BadRequest("security.idmap.base %d with security.idmap.size %d is outside of what the kernel knows", q.Base, size)
	}
	if q.Base > 0 {
		return Range{Base: q.Base, Count: size}, nil
	}
	sorted := append([]Range(nil), taken...)
	sort.Slice(sorted, func(i, j int) bool { return sorted[i].Base < sorted[j].Base })
	at := max(h.UID.Base, h.GID.Base) + MinCount
	for _, r := range sorted {
		if r.Base >= at+size {
			break
		}
		at = max(at, r.end())
	}
	if at+size > min(h.UID.end(), h.GID.end()) {
		return Range{}, api.BadRequest("Not enough uid/gid available for the container")
	}
	return Range{Base: at, Count: size}, nil
}

// insert puts an entry of raw.idmap over the map: what the map had for its IDs inside gives way; that its IDs of the
// host belong to other IDs inside already is an error.
func insert(m []spec.IDMapEntry, e spec.IDMapEntry) ([]spec.IDMapEntry, error) {
	var out []spec.IDMapEntry
	for _, part := range split(m) {
		if part.UID && !e.UID || part.GID && !e.GID {
			out = append(out, part)
			continue
		}
		lo, hi := max(part.NSID, e.NSID), min(part.NSID+part.Count, e.NSID+e.Count)
		if lo >= hi {
			out = append(out, part)
			continue
		}
		if n := lo - part.NSID; n > 0 {
			out = append(out, spec.IDMapEntry{UID: part.UID, GID: part.GID, NSID: part.NSID, HostID: part.HostID, Count: n})
		}
		if n := part.NSID + part.Count - hi; n > 0 {
			out = append(out, spec.IDMapEntry{UID: part.UID, GID: part.GID, NSID: hi, HostID: part.HostID + hi - part.NSID, Count: n})
		}
	}
	for _, part := range out {
		if (part.UID && e.UID || part.GID && e.GID) && part.HostID < e.HostID+e.Count && e.HostID < part.HostID+part.Count {
			return nil, api.BadRequest("Conflicting id mapping: host IDs %d-%d are mapped already", e.HostID, e.HostID+e.Count-1)
		}
	}
	return append(out, e), nil
}

// split makes entries for one kind of ID each.
func split(m []spec.IDMapEntry) []spec.IDMapEntry {
	var out []spec.IDMapEntry
	for _, e := range m {
		if e.UID {
			u := e
			u.GID = false
			out = append(out, u)
		}
		if e.GID {
			g := e
			g.UID = false
			out = append(out, g)
		}
	}
	return out
}

// normalise sorts a map by IDs inside and joins equal entries for users and groups.
func normalise(m []spec.IDMapEntry) []spec.IDMapEntry {
	type key struct{ ns, host, count int64 }
	kinds := map[key]spec.IDMapEntry{}
	var order []key
	for _, e := range split(m) {
		k := key{e.NSID, e.HostID, e.Count}
		have, ok := kinds[k]
		if !ok {
			order = append(order, k)
			have = spec.IDMapEntry{NSID: e.NSID, HostID: e.HostID, Count: e.Count}
		}
		have.UID, have.GID = have.UID || e.UID, have.GID || e.GID
		kinds[k] = have
	}
	sort.SliceStable(order, func(i, j int) bool { return order[i].ns < order[j].ns })
	out := make([]spec.IDMapEntry, 0, len(order))
	for _, k := range order {
		out = append(out, kinds[k])
	}
	return out
}

// maxRaw bounds the lines of raw.idmap: the kernel takes 340 entries for each kind.
const maxRaw = 300

// ParseRaw reads raw.idmap: lines "both|uid|gid HOST[-HOST] INSIDE[-INSIDE]" (see userns-idmap.md of LXD).
func ParseRaw(value string) ([]spec.IDMapEntry, error) {
	var out []spec.IDMapEntry
	for line := range strings.Lines(value) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, api.BadRequest("Invalid raw.idmap line %q", line)
		}
		host, err := parseRange(fields[1])
		if err != nil {
			return nil, err
		}
		ns, err := parseRange(fields[2])
		if err != nil {
			return nil, err
		}
		if host.Count != ns.Count {
			return nil, api.BadRequest("The ID map ranges are of different sizes %q", line)
		}
		e := spec.IDMapEntry{NSID: ns.Base, HostID: host.Base, Count: host.Count}
		switch fields[0] {
		case "both":
			e.UID, e.GID = true, true
		case "uid":
			e.UID = true
		case "gid":
			e.GID = true
		default:
			return nil, api.BadRequest("Invalid raw.idmap type %q", fields[0])
		}
		if out = append(out, e); len(out) > maxRaw {
			return nil, api.BadRequest("raw.idmap has more than %d lines", maxRaw)
		}
	}
	return out, nil
}

func parseRange(s string) (Range, error) {
	from, to, isRange := strings.Cut(s, "-")
	base, err := strconv.ParseInt(from, 10, 64)
	if err != nil || base < 0 || base >= maxID {
		return Range{}, api.BadRequest("Invalid ID map range %q", s)
	}
	if !isRange {
		return Range{Base: base, Count: 1}, nil
	}
	last, err := strconv.ParseInt(to, 10, 64)
	if err != nil || last < base || last >= maxID {
		return Range{}, api.BadRequest("Invalid ID map range %q", s)
	}
	return Range{Base: base, Count: last - base + 1}, nil
}

// wire is an entry as volatile.last_state.idmap and its like hold it, LXD's names and all.
type wire struct {
	Isuid    bool
	Isgid    bool
	Hostid   int64
	Nsid     int64
	Maprange int64
}

// Encode is a map as the volatile keys hold it: JSON, one entry for each kind of ID. An empty map is "[]".
func Encode(m []spec.IDMapEntry) string {
	out := make([]wire, 0, 2*len(m))
	for _, e := range split(m) {
		out = append(out, wire{e.UID, e.GID, e.HostID, e.NSID, e.Count})
	}
	raw, _ := json.Marshal(out) // numbers and booleans alone cannot fail
	return string(raw)
}

// Decode reads what Encode or LXD wrote; an empty string is an empty map.
func Decode(value string) ([]spec.IDMapEntry, error) {
	if value == "" {
		return nil, nil
	}
	var in []wire
	if err := json.Unmarshal([]byte(value), &in); err != nil {
		return nil, fmt.Errorf("ID map: %w", err)
	}
	m := make([]spec.IDMapEntry, 0, len(in))
	for _, e := range in {
		if !e.Isuid && !e.Isgid || e.Maprange <= 0 || e.Hostid < 0 || e.Nsid < 0 || e.Hostid > math.MaxUint32 || e.Nsid > math.MaxUint32 || e.Maprange > math.MaxUint32 {
			return nil, fmt.Errorf("ID map: entry out of range in %q", value)
		}
		m = append(m, spec.IDMapEntry{UID: e.Isuid, GID: e.Isgid, HostID: e.Hostid, NSID: e.Nsid, Count: e.Maprange})
	}
	return normalise(m), nil
}

func translate(m []spec.IDMapEntry, id int64, user, toHost bool) (int64, bool) {
	if len(m) == 0 {
		return id, true
	}
	for _, e := range m {
		if user && !e.UID || !user && !e.GID {
			continue
		}
		from, to := e.HostID, e.NSID
		if toHost {
			from, to = e.NSID, e.HostID
		}
		if id >= from && id < from+e.Count {
			return to + id - from, true
		}
	}
	return -1, false
}

// Package idmap knows which user and group IDs of the host containers may use, and how theirs map to them.
package idmap

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Range is Count IDs of the host from Base on.
type Range struct {
	Base, Count int64
}

func (r Range) end() int64 { return r.Base + r.Count }

// Host is what containers on this host may use.
type Host struct {
	UID, GID Range
}

// MinCount is the fewest IDs that a POSIX system needs, root to nobody.
const MinCount = 65536

// Default is used where /etc/subuid and /etc/subgid say nothing of root; the numbers are LXD's.
var Default = Range{Base: 1000000, Count: 1000000000}

// maxID is one more than the largest ID that the kernel takes: (uid_t)-1 means none.
const maxID = 1<<32 - 1

// maxLine and maxFile bound what is read of the two files.
const (
	maxLine = 4096
	maxFile = 4 << 20
)

// FromHost reads /etc/subuid and /etc/subgid: the largest range that each gives root.
func FromHost() (Host, error) {
	uid, err := fromFile("/etc/subuid")
	if err != nil {
		return Host{}, err
	}
	gid, err := fromFile("/etc/subgid")
	if err != nil {
		return Host{}, err
	}
	return Host{UID: uid, GID: gid}, nil
}

func fromFile(path string) (Range, error) {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return Default, nil
	}
	if err != nil {
		return Range{}, err
	}
	defer func() { _ = f.Close() }()
	r, err := parseSub(io.LimitReader(f, maxFile), "root")
	if err != nil {
		return Range{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// parseSub finds the largest range of a user in the format of subuid(5). A user without one gets the default range,
// moved above what belongs to others. Lines that make no sense are skipped, as shadow's tools do.
func parseSub(in io.Reader, user string) (Range, error) {
	var own Range
	others := Default.Base
	s := bufio.NewScanner(in)
	s.Buffer(nil, maxLine)
	for s.Scan() {
		name, r, ok := parseSubLine(s.Text())
		switch {
		case !ok:
		case name == user || name == "0":
			if r.Count > own.Count {
				own = r
			}
		case r.end() > others:
			others = r.end()
		}
	}
	if err := s.Err(); err != nil {
		return Range{}, err
	}
	if own.Count > 0 {
		return own, nil
	}
	free := Range{Base: (others + MinCount - 1) / MinCount * MinCount, Count: Default.Count}
	if others == Default.Base {
		free.Base = Default.Base
	}
	free.Count = min(free.Count, maxID-free.Base)
	if free.Count < MinCount {
		return Range{}, fmt.Errorf("no %d IDs are left for %s", MinCount, user)
	}
	return free, nil
}

func parseSubLine(line string) (string, Range, bool) {
	fields := strings.Split(strings.TrimSpace(line), ":")
	if len(fields) != 3 || fields[0] == "" || strings.HasPrefix(fields[0], "#") {
		return "", Range{}, false
	}
	base, err1 := strconv.ParseInt(fields[1], 10, 64)
	count, err2 := strconv.ParseInt(fields[2], 10, 64)
	if err1 != nil || err2 != nil || base < 0 || count <= 0 || base >= maxID || count > maxID-base {
		return "", Range{}, false
	}
	return fields[0], Range{Base: base, Count: count}, true
}

package instance

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/internal/config"
)

// What liblxc only refuses when the instance starts is refused here, when it is set. It goes as far as can be known beforehand: a filter
// may be well-formed and still forbid what the instance cannot do without.

// kernelLimits are the names that setrlimit's limits have in liblxc's configuration (lxc.container.conf(5), lxc.prlimit). It takes the
// kernel's numbers of them, too.
var kernelLimits = []string{"as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
	"sigpending", "stack"}

// checkKernelLimits refuses limits of resources that the kernel does not know.
func checkKernelLimits(c map[string]string) error {
	for _, key := range config.Changed(nil, c) {
		name, ok := strings.CutPrefix(key, "limits.kernel.")
		if !ok || slices.Contains(kernelLimits, name) {
			continue
		}
		if n, err := strconv.ParseUint(name, 10, 8); err != nil || n >= uint64(len(kernelLimits)) {
			return api.BadRequest("Unknown kernel limit %q (%s=%q; allowed: limits.kernel. and one of %s, or its number, 0 to %d)", name, key, c[key],
				strings.Join(kernelLimits, ", "), len(kernelLimits)-1)
		}
	}
	return nil
}

// rlimit checks one limit or two, as soft:hard.
func rlimit(v string) error {
	soft, hard, both := strings.Cut(v, ":")
	softLimit, err := rlimitNumber(soft)
	hardLimit := softLimit
	if err == nil && both {
		hardLimit, err = rlimitNumber(hard)
	}
	if err != nil {
		return fmt.Errorf("Invalid kernel limit %q: must be a number or unlimited, or soft:hard", v)
	}
	if softLimit > hardLimit {
		return fmt.Errorf("Invalid kernel limit %q: the soft limit is above the hard one", v)
	}
	return nil
}

// rlimitNumber reads one as liblxc does, which takes blanks around it.
func rlimitNumber(v string) (uint64, error) {
	if v = strings.TrimSpace(v); v == "unlimited" || v == "-1" {
		return math.MaxUint64, nil
	}
	return strconv.ParseUint(v, 10, 64)
}

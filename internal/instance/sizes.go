package instance

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/berthd/berth/api"
)

var sizeSyntax = regexp.MustCompile(`^(c([0-9]+(?:\.[0-9]+)?))?-?(m([0-9]+(?:\.[0-9]+)?))?$`)

// applySize turns an instance type such as "c0.5-m0.2" (CPUs; memory, each 1024MB, as LXD counts it) into limits that the request does not
// set itself. Names of public clouds come from a list that a server would have to fetch; this one does not.
func applySize(req *api.InstancesPost) error {
	if req.InstanceType == "" {
		return nil
	}
	m := sizeSyntax.FindStringSubmatch(req.InstanceType)
	if m == nil || (m[2] == "" && m[4] == "") {
		return api.BadRequest("Provided instance type doesn't exist: %s", req.InstanceType)
	}
	set := map[string]string{}
	if m[2] != "" {
		cpu, err := strconv.ParseFloat(m[2], 64)
		if err != nil || cpu <= 0 || cpu > maxCPU {
			return api.BadRequest("Provided instance type doesn't exist: %s", req.InstanceType)
		}
		whole := int(cpu)
		if fraction := cpu - float64(whole); fraction > 0 {
			whole++
			set["limits.cpu.allowance"] = fmt.Sprintf("%d%%", int(100*cpu/float64(whole)))
		}
		set["limits.cpu"] = strconv.Itoa(whole)
	}
	if m[4] != "" {
		gb, err := strconv.ParseFloat(m[4], 64)
		if err != nil || gb <= 0 || gb > 1e6 {
			return api.BadRequest("Provided instance type doesn't exist: %s", req.InstanceType)
		}
		set["limits.memory"] = fmt.Sprintf("%dMB", int64(gb*1024))
	}
	if req.Config == nil {
		req.Config = map[string]string{}
	}
	for k, v := range set {
		setDefault(req.Config, k, v)
	}
	return nil
}

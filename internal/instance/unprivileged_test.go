package instance

import "testing"

func TestCheckUnprivileged(t *testing.T) {
	for _, c := range []struct {
		key, value string
		refused    bool
	}{
		{"security.privileged", "false", false},
		{"security.privileged", "1", true},
		{"raw.idmap", "both 0 1000", true},
		{"raw.lxc", "# lxc.idmap\nlxc.uts.name = x", false},
		{"raw.lxc", "lxc.uts.name = x\n LXC.idmap =", true},
		{"raw.lxc", "lxc.id_map=u 0 0 1", true},
		{"raw.lxc", "lxc.include=", true},
	} {
		if err := checkUnprivileged(map[string]string{c.key: c.value}); (err != nil) != c.refused {
			t.Errorf("%s=%q: %v", c.key, c.value, err)
		}
	}
}

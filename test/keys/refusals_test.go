package keys_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/driver/device/disk"
	"github.com/berthd/berth/internal/driver/device/nic"
	"github.com/berthd/berth/internal/instance"
	"github.com/berthd/berth/internal/network"
	"github.com/berthd/berth/internal/project"
	"github.com/berthd/berth/internal/serverconfig"
	"github.com/berthd/berth/internal/storage"
)

// TestARefusalSaysWhatIsAllowed, for every key that refuses anything: its name, and what it takes if the table says so.
func TestARefusalSaysWhatIsAllowed(t *testing.T) {
	tables := map[string]*config.Table{
		"instance": instance.Keys, "project": project.Keys, "disk": disk.Keys, "network": network.Keys(), "server": serverconfig.Keys,
		"pool": storage.PoolKeys(), "volume": storage.VolumeKeys(),
	}
	for kind, table := range nic.Tables() {
		tables[kind] = table
	}
	words := map[config.Type]string{config.Bool: "true or false", config.Integer: "a whole number", config.Size: "64MiB", config.Duration: "1h30m"}
	refused, allowed := 0, 0
	for kind, table := range maps.All(tables) {
		for _, k := range table.Keys() {
			name := strings.ReplaceAll(k.Name, "*", "x1")
			err := table.ValidateKey(name, "~?~")
			if err == nil {
				continue
			}
			refused++
			says := k.Allowed
			if says == "" && kind == "instance" && k.Validate == nil && len(k.Values) == 0 {
				says = words[k.Type]
			}
			if !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %s refuses with %q, and does not name what it takes: %q", kind, k.Name, err, says)
			}
			if says != "" {
				allowed++
			}
		}
	}
	if refused < 100 || allowed < 30 {
		t.Errorf("%d keys refuse something, %d say what they take", refused, allowed)
	}
}

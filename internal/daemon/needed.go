package daemon

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/store"
)

// Running tells whether there is a daemon on root. It connects to no socket: behind it may be a service manager, which would start one.
func Running(root string) (bool, error) { return store.InUse(Path(root)) }

// Needed tells why a daemon on root would have something to do at once: to listen on the network, or to start
// instances. Empty is no reason. It only reads the store, which may be in use.
func Needed(root string) (reason string, err error) {
	if _, err := os.Stat(Path(root)); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	network, instances := false, false
	err = store.ScanFile(Path(root), func(e store.Entry) error {
		var object struct {
			Config map[string]string `json:"config"`
		}
		server := strings.HasPrefix(e.Key, "/config/server")
		if !server && !strings.HasPrefix(e.Key, "/instances/") || json.Unmarshal(e.Value, &object) != nil {
			return nil
		}
		if server {
			network = network || object.Config["core.https_address"] != "" || object.Config["core.metrics_address"] != ""
			return nil
		}
		// Those that ran when the machine went down are started again, unless they say otherwise.
		autostart, last := object.Config["boot.autostart"], object.Config["volatile.last_state.power"]
		instances = instances || config.IsTrue(autostart) || autostart == "" && last == "RUNNING"
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case network:
		return "Daemon has core.https_address set, activating...", nil
	case instances:
		return "Daemon has auto-started instances, activating...", nil
	}
	return "", nil
}

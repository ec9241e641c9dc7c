package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/store"
)

// Needed tells, without a daemon, whether one on root would have something to do at once: to listen on the network, or
// to start instances. A store that is in use belongs to a daemon that runs already.
func Needed(root string) (bool, error) {
	if _, err := os.Stat(Path(root)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	engine, err := store.OpenBolt(Path(root), store.Options{NoBackup: true})
	if errors.Is(err, store.ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	needed, err := needed(engine)
	return needed, errors.Join(err, engine.Close())
}

func needed(engine store.Engine) (bool, error) {
	ctx := context.Background()
	var object struct {
		Config map[string]string `json:"config"`
	}
	settings, _, err := engine.List(ctx, "/config/server")
	if err != nil {
		return false, err
	}
	for _, e := range settings {
		if err := json.Unmarshal(e.Value, &object); err == nil && object.Config["core.https_address"] != "" {
			return true, nil
		}
	}
	instances, _, err := engine.List(ctx, "/instances/")
	if err != nil {
		return false, err
	}
	for _, e := range instances {
		object.Config = nil
		if err := json.Unmarshal(e.Value, &object); err != nil {
			continue
		}
		// Those that ran when the machine went down are started again, unless they say otherwise.
		autostart, last := object.Config["boot.autostart"], object.Config["volatile.last_state.power"]
		if config.IsTrue(autostart) || autostart == "" && last == "RUNNING" {
			return true, nil
		}
	}
	return false, nil
}

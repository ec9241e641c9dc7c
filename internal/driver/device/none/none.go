// Package none is the device type that is nothing: it hides a device of the same name that a profile brings.
package none

import (
	"context"
	"encoding/json"

	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// Keys are the keys of the device: none of its own, as all it does is to hide one that a profile brings.
var Keys = config.NewTable(config.DeviceWords, config.Key{Name: "type", Restricted: config.Free}, config.UserKey)

// Module implements device.Module.
type Module struct{}

var (
	_ device.Module     = Module{}
	_ device.HotPlugger = Module{}
	_ device.Describer  = Module{}
)

// Tables implements device.Describer.
func (Module) Tables() map[string]*config.Table { return map[string]*config.Table{"": Keys} }

// Validate implements device.Module.
func (Module) Validate(_ context.Context, _ device.Instance, _ string, cfg device.Config) error {
	return Keys.Validate(cfg)
}

// Start implements device.Module.
func (Module) Start(context.Context, device.Instance, string, device.Config, map[string]string) (device.Contribution, error) {
	return device.Contribution{}, nil
}

// Stop implements device.Module.
func (Module) Stop(context.Context, device.Instance, string, device.Config, map[string]string) (map[string]string, error) {
	return nil, nil
}

// Plug implements device.HotPlugger.
func (Module) Plug(context.Context, device.Running, device.Instance, string, device.Config, device.Contribution) error {
	return nil
}

// Unplug implements device.HotPlugger.
func (Module) Unplug(context.Context, device.Running, device.Instance, string, device.Config, map[string]string) error {
	return nil
}

// Look implements device.HotPlugger.
func (Module) Look(context.Context, device.Running, device.Instance, string, device.Config, map[string]string) (json.RawMessage, error) {
	return nil, nil
}

// Replug implements device.HotPlugger.
func (Module) Replug(context.Context, device.Running, device.Instance, string, device.Config, map[string]string, json.RawMessage) error {
	return nil
}

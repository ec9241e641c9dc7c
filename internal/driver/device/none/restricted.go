package none

import "github.com/berthd/berth/internal/device"

// Needs implements device.Restricted: what is nothing is free.
func (Module) Needs(device.Config) []device.Need { return nil }

package network

import "github.com/berthd/berth/internal/config"

// Keys is the configuration of a managed bridge.
func Keys() *config.Table { return bridgeKeys }

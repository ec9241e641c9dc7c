package instance

import (
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// DeviceKeys are the keys of the devices that there can be, by type, and by kind where the type has several: "disk", "nic-bridged".
func (s *Service) DeviceKeys() map[string]*config.Table {
	tables := map[string]*config.Table{}
	for kind, m := range s.Modules {
		d, ok := m.(device.Described)
		if !ok {
			continue
		}
		for variant, table := range d.Tables() {
			name := kind
			if variant != "" {
				name += "-" + variant
			}
			tables[name] = table
		}
	}
	return tables
}

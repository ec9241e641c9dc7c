package instance

import (
	"github.com/berthd/berth/internal/config"
	"github.com/berthd/berth/internal/device"
)

// DeviceKeys are the keys of the devices that there can be, by type, and by kind where the type has several: "disk", "nic-bridged".
func (s *Service) DeviceKeys() map[string]*config.Table {
	tables := map[string]*config.Table{}
	for typ, m := range s.Modules {
		d, ok := m.(device.Describer)
		if !ok {
			continue
		}
		for kind, table := range d.Tables() {
			name := typ
			if kind != "" {
				name += "-" + kind
			}
			tables[name] = table
		}
	}
	return tables
}

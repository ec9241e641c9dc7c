package resources

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/berthd/berth/api"
)

// system reads what the firmware says. Machines without such tables, as many small ones are, say nothing.
func (r reader) system() api.ResourcesSystem {
	dmi := filepath.Join(r.sys, "class/dmi/id")
	s := api.ResourcesSystem{Type: r.machineType()}
	if !exists(dmi) {
		return s
	}
	s.UUID, s.Vendor, s.Product = text(dmi, "product_uuid"), text(dmi, "sys_vendor"), text(dmi, "product_name")
	s.Family, s.Version = text(dmi, "product_family"), text(dmi, "product_version")
	s.Sku, s.Serial = text(dmi, "product_sku"), text(dmi, "product_serial")
	s.Firmware = &api.ResourcesSystemFirmware{
		Vendor: text(dmi, "bios_vendor"), Date: text(dmi, "bios_date"), Version: text(dmi, "bios_version"),
	}
	s.Chassis = &api.ResourcesSystemChassis{
		Vendor: text(dmi, "chassis_vendor"), Type: chassisTypes[number(dmi, "chassis_type")],
		Serial: text(dmi, "chassis_serial"), Version: text(dmi, "chassis_version"),
	}
	s.Motherboard = &api.ResourcesSystemMotherboard{
		Vendor: text(dmi, "board_vendor"), Product: text(dmi, "board_name"),
		Serial: text(dmi, "board_serial"), Version: text(dmi, "board_version"),
	}
	return s
}

// machineType tells a container and a virtual machine from real hardware.
func (r reader) machineType() string {
	if exists("/run/systemd/container") || os.Getenv("container") != "" {
		return "container"
	}
	if data, err := os.ReadFile(filepath.Join(r.proc, "cpuinfo")); err == nil {
		for _, line := range strings.Split(string(data), "\n") {
			if strings.HasPrefix(line, "flags") && strings.Contains(line, " hypervisor") {
				return "virtual-machine"
			}
		}
	}
	return "physical"
}

// chassisTypes are those of the SMBIOS specification, 7.4.1.
var chassisTypes = map[uint64]string{
	1: "Other", 2: "Unknown", 3: "Desktop", 4: "Low Profile Desktop", 5: "Pizza Box", 6: "Mini Tower", 7: "Tower", 8: "Portable",
	9: "Laptop", 10: "Notebook", 11: "Hand Held", 12: "Docking Station", 13: "All In One", 14: "Sub Notebook", 15: "Space-saving",
	16: "Lunch Box", 17: "Main Server Chassis", 18: "Expansion Chassis", 19: "Sub Chassis", 20: "Bus Expansion Chassis",
	21: "Peripheral Chassis", 22: "RAID Chassis", 23: "Rack Mount Chassis", 24: "Sealed-case PC", 25: "Multi-system",
	26: "CompactPCI", 27: "AdvancedTCA", 28: "Blade", 29: "Blade Enclosing", 30: "Tablet", 31: "Convertible", 32: "Detachable",
	33: "IoT Gateway", 34: "Embedded PC", 35: "Mini PC", 36: "Stick PC",
}

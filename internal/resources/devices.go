package resources

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
)

func (r reader) gpu() api.ResourcesGPU {
	out := api.ResourcesGPU{Cards: []api.ResourcesGPUCard{}}
	class := filepath.Join(r.sys, "class/drm")
	for _, name := range names(class) {
		id, err := strconv.ParseUint(strings.TrimPrefix(name, "card"), 10, 32)
		if err != nil || !strings.HasPrefix(name, "card") {
			continue // renderD128, card0-HDMI-A-1
		}
		device := filepath.Join(class, name, "device")
		card := api.ResourcesGPUCard{NUMANode: number(device, "numa_node")}
		card.Driver, card.DriverVersion = r.driver(device)
		card.PCIAddress, _ = bus(device)
		card.VendorID, card.ProductID = pciID(device, "vendor"), pciID(device, "device")
		card.Vendor, card.Product = pciNames(card.VendorID, card.ProductID)
		card.DRM = &api.ResourcesGPUCardDRM{ID: id, CardName: name, CardDevice: text(class, name, "dev")}
		for _, node := range names(device, "drm") {
			switch {
			case strings.HasPrefix(node, "renderD"):
				card.DRM.RenderName, card.DRM.RenderDevice = node, text(device, "drm", node, "dev")
			case strings.HasPrefix(node, "controlD"):
				card.DRM.ControlName, card.DRM.ControlDevice = node, text(device, "drm", node, "dev")
			}
		}
		out.Cards = append(out.Cards, card)
	}
	out.Total = uint64(len(out.Cards))
	return out
}

// network lists cards with hardware behind them; ports of one card stand together.
func (r reader) network() api.ResourcesNetwork {
	out := api.ResourcesNetwork{Cards: []api.ResourcesNetworkCard{}}
	class := filepath.Join(r.sys, "class/net")
	byDevice := map[string]int{}
	for _, name := range names(class) {
		device, err := filepath.EvalSymlinks(filepath.Join(class, name, "device"))
		if err != nil {
			continue
		}
		i, ok := byDevice[device]
		if !ok {
			i = len(out.Cards)
			byDevice[device] = i
			out.Cards = append(out.Cards, r.networkCard(device))
		}
		out.Cards[i].Ports = append(out.Cards[i].Ports, networkPort(filepath.Join(class, name), name))
	}
	out.Total = uint64(len(out.Cards))
	return out
}

func (r reader) networkCard(device string) api.ResourcesNetworkCard {
	card := api.ResourcesNetworkCard{NUMANode: number(device, "numa_node")}
	card.Driver, card.DriverVersion = r.driver(device)
	card.PCIAddress, card.USBAddress = bus(device)
	card.VendorID, card.ProductID = pciID(device, "vendor"), pciID(device, "device")
	card.Vendor, card.Product = pciNames(card.VendorID, card.ProductID)
	return card
}

// arpInfiniband is an interface's type in the kernel's if_arp.h.
const arpInfiniband = 32

func networkPort(dir, name string) api.ResourcesNetworkCardPort {
	p := api.ResourcesNetworkCardPort{
		ID: name, Address: text(dir, "address"), Port: number(dir, "dev_port"), Protocol: "ethernet",
		LinkDetected: text(dir, "carrier") == "1", LinkSpeed: number(dir, "speed"),
	}
	if number(dir, "type") == arpInfiniband {
		p.Protocol = "infiniband"
	}
	if d := text(dir, "duplex"); p.LinkSpeed > 0 && d != "unknown" {
		p.LinkDuplex = d
	}
	return p
}

func (r reader) pci() api.ResourcesPCI {
	out := api.ResourcesPCI{Devices: []api.ResourcesPCIDevice{}}
	root := filepath.Join(r.sys, "bus/pci/devices")
	for _, address := range names(root) {
		device := filepath.Join(root, address)
		d := api.ResourcesPCIDevice{PCIAddress: address, NUMANode: number(device, "numa_node")}
		d.Driver, d.DriverVersion = r.driver(device)
		d.VendorID, d.ProductID = pciID(device, "vendor"), pciID(device, "device")
		d.Vendor, d.Product = pciNames(d.VendorID, d.ProductID)
		d.IOMMUGroup, _ = strconv.ParseUint(linked(device, "iommu_group"), 10, 64)
		out.Devices = append(out.Devices, d)
	}
	out.Total = uint64(len(out.Devices))
	return out
}

func pciID(device, file string) string { return strings.TrimPrefix(text(device, file), "0x") }

func (r reader) usb() api.ResourcesUSB {
	out := api.ResourcesUSB{Devices: []api.ResourcesUSBDevice{}}
	root := filepath.Join(r.sys, "bus/usb/devices")
	for _, name := range names(root) {
		device := filepath.Join(root, name)
		const hub = 9
		if !exists(device, "idVendor") || hex(device, "bDeviceClass") == hub {
			continue
		}
		d := api.ResourcesUSBDevice{
			BusAddress: number(device, "busnum"), DeviceAddress: number(device, "devnum"),
			Vendor: text(device, "manufacturer"), VendorID: text(device, "idVendor"),
			Product: text(device, "product"), ProductID: text(device, "idProduct"), Interfaces: []api.ResourcesUSBDeviceInterface{},
		}
		d.Speed, _ = strconv.ParseFloat(text(device, "speed"), 64)
		for _, sub := range names(device) {
			if !strings.HasPrefix(sub, name+":") {
				continue
			}
			i := api.ResourcesUSBDeviceInterface{
				ClassID: hex(device, sub, "bInterfaceClass"), SubClassID: hex(device, sub, "bInterfaceSubClass"),
				Number: hex(device, sub, "bInterfaceNumber"),
			}
			i.Class = usbClasses[i.ClassID]
			i.Driver, i.DriverVersion = r.driver(filepath.Join(device, sub))
			d.Interfaces = append(d.Interfaces, i)
		}
		out.Devices = append(out.Devices, d)
	}
	out.Total = uint64(len(out.Devices))
	return out
}

// usbClasses are the base classes of the USB-IF's "Defined Class Codes".
var usbClasses = map[uint64]string{
	0x01: "Audio", 0x02: "Communications", 0x03: "Human Interface Device", 0x05: "Physical Interface Device", 0x06: "Imaging",
	0x07: "Printer", 0x08: "Mass Storage", 0x09: "Hub", 0x0a: "CDC Data", 0x0b: "Chip/SmartCard", 0x0d: "Content Security",
	0x0e: "Video", 0x0f: "Personal Healthcare", 0xdc: "Diagnostic Device", 0xe0: "Wireless", 0xef: "Miscellaneous Device",
	0xfe: "Application Specific Interface", 0xff: "Vendor Specific Class",
}

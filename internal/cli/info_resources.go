package cli

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/berthd/berth/client"
)

// resources is what of GET /1.0/resources is shown (field names: doc/rest-api.yaml of LXD).
type resources struct {
	CPU struct {
		Architecture string `json:"architecture"`
		Sockets      []struct {
			Name, Vendor                     string
			Socket                           int64
			Frequency                        int64
			FrequencyMinimum, FrequencyTurbo int64
			Cache                            []struct {
				Level int
				Type  string
				Size  int64
			}
			Cores []struct {
				Core, Frequency int64
				Threads         []struct {
					ID       int64
					Thread   int64
					Online   bool
					NUMANode int64 `json:"numa_node"`
				}
			}
		}
	}
	Memory struct{ Used, Total int64 }
	GPU    struct {
		Cards []struct {
			NUMANode      int64  `json:"numa_node"`
			PCIAddress    string `json:"pci_address"`
			Driver        string
			DriverVersion string `json:"driver_version"`
			Vendor        string
			VendorID      string `json:"vendor_id"`
			Product       string
			ProductID     string `json:"product_id"`
		}
	}
	Network struct{ Cards []nicCard }
	Storage struct {
		Disks []diskInfo
	}
}

type nicCard struct {
	NUMANode      int64  `json:"numa_node"`
	PCIAddress    string `json:"pci_address"`
	Vendor        string
	VendorID      string `json:"vendor_id"`
	Product       string
	ProductID     string `json:"product_id"`
	Driver        string
	DriverVersion string `json:"driver_version"`
	Ports         []struct {
		ID              string
		Address         string
		Port            int64
		Protocol        string
		PortType        string `json:"port_type"`
		TransceiverType string `json:"transceiver_type"`
		AutoNegotiation bool   `json:"auto_negotiation"`
		LinkDetected    bool   `json:"link_detected"`
		LinkSpeed       int64  `json:"link_speed"`
		LinkDuplex      string `json:"link_duplex"`
	}
}

type diskInfo struct {
	NUMANode   int64 `json:"numa_node"`
	ID         string
	Device     string
	Model      string
	Type       string
	Size       int64
	WWN        string
	ReadOnly   bool `json:"read_only"`
	Removable  bool
	Partitions []struct {
		ID        string
		Device    string
		ReadOnly  bool `json:"read_only"`
		Size      int64
		Partition int64
	}
}

func (c *App) resourcesInfo(server *client.Client) error {
	raw, err := server.Resources()
	if err != nil {
		return err
	}
	var r resources
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	var b strings.Builder
	r.cpu(&b)
	free := r.Memory.Total - r.Memory.Used
	fmt.Fprintf(&b, "\n%s\n  %s %s\n  %s %s\n  %s %s\n", T("Memory:"), T("Free:"), byteSizeIEC(free, 2), T("Used:"), byteSizeIEC(r.Memory.Used, 2), T("Total:"), byteSizeIEC(r.Memory.Total, 2))
	r.gpus(&b)
	r.nics(&b)
	r.disks(&b)
	_, err = fmt.Fprint(printableWriter{c.Out}, b.String())
	return err
}

func (r *resources) cpu(b *strings.Builder) {
	for n, s := range r.CPU.Sockets {
		if len(r.CPU.Sockets) == 1 {
			fmt.Fprintf(b, "CPU (%s):\n", r.CPU.Architecture)
		} else {
			if n == 0 {
				fmt.Fprintf(b, "CPUs (%s):\n", r.CPU.Architecture)
			}
			fmt.Fprintf(b, "  Socket %d:\n", s.Socket)
		}
		fmt.Fprintf(b, "  Vendor: %s\n  Name: %s\n", s.Vendor, s.Name)
		if len(s.Cache) > 0 {
			b.WriteString("  Caches:\n")
			for _, cache := range s.Cache {
				fmt.Fprintf(b, "    - Level %d (type: %s): %s\n", cache.Level, cache.Type, byteSizeIEC(cache.Size, 0))
			}
		}
		b.WriteString("  Cores:\n")
		for _, core := range s.Cores {
			fmt.Fprintf(b, "    - Core %d\n      Frequency: %dMhz\n      Threads:\n", core.Core, core.Frequency)
			for _, t := range core.Threads {
				fmt.Fprintf(b, "        - %d (id: %d, online: %v, NUMA node: %d)\n", t.Thread, t.ID, t.Online, t.NUMANode)
			}
		}
	}
}

// plural picks a heading and the indentation of what is under it.
func plural(b *strings.Builder, one, many string, n int) {
	switch {
	case n == 1:
		fmt.Fprintf(b, "\n%s:\n", one)
	case n > 1:
		fmt.Fprintf(b, "\n%s:\n", many)
	}
}

// entry starts an entry; with several of them each has a number and is indented.
func entry(b *strings.Builder, kind string, n, of int, lines []string) {
	prefix := "  "
	if of > 1 {
		fmt.Fprintf(b, "  %s %d:\n", kind, n)
		prefix = "    "
	}
	for _, l := range lines {
		b.WriteString(prefix + l + "\n")
	}
}

func vendorLines(vendor, vendorID, product, productID string) []string {
	var out []string
	if vendor != "" {
		out = append(out, fmt.Sprintf("Vendor: %s (%s)", vendor, vendorID))
	}
	if product != "" {
		out = append(out, fmt.Sprintf("Product: %s (%s)", product, productID))
	}
	return out
}

func (r *resources) gpus(b *strings.Builder) {
	plural(b, "GPU", "GPUs", len(r.GPU.Cards))
	for n, g := range r.GPU.Cards {
		lines := append([]string{fmt.Sprintf("NUMA node: %d", g.NUMANode)}, vendorLines(g.Vendor, g.VendorID, g.Product, g.ProductID)...)
		if g.PCIAddress != "" {
			lines = append(lines, "PCI address: "+g.PCIAddress)
		}
		if g.Driver != "" {
			lines = append(lines, fmt.Sprintf("Driver: %s (%s)", g.Driver, g.DriverVersion))
		}
		entry(b, "Card", n, len(r.GPU.Cards), lines)
	}
}

func (r *resources) nics(b *strings.Builder) {
	plural(b, "NIC", "NICs", len(r.Network.Cards))
	for n, card := range r.Network.Cards {
		lines := append([]string{fmt.Sprintf("NUMA node: %d", card.NUMANode)}, vendorLines(card.Vendor, card.VendorID, card.Product, card.ProductID)...)
		if card.PCIAddress != "" {
			lines = append(lines, "PCI address: "+card.PCIAddress)
		}
		if card.Driver != "" {
			lines = append(lines, fmt.Sprintf("Driver: %s (%s)", card.Driver, card.DriverVersion))
		}
		if len(card.Ports) > 0 {
			lines = append(lines, "Ports:")
		}
		for _, p := range card.Ports {
			lines = append(lines, fmt.Sprintf("  - Port %d (%s)", p.Port, p.Protocol), "    ID: "+p.ID)
			if p.Address != "" {
				lines = append(lines, "    Address: "+p.Address)
			}
			if p.PortType != "" {
				lines = append(lines, "    Port type: "+p.PortType)
			}
			if p.TransceiverType != "" {
				lines = append(lines, "    Transceiver type: "+p.TransceiverType)
			}
			lines = append(lines, fmt.Sprintf("    Auto negotiation: %v", p.AutoNegotiation), fmt.Sprintf("    Link detected: %v", p.LinkDetected))
			if p.LinkSpeed > 0 {
				lines = append(lines, fmt.Sprintf("    Link speed: %dMbit/s (%s duplex)", p.LinkSpeed, p.LinkDuplex))
			}
		}
		entry(b, "Card", n, len(r.Network.Cards), lines)
	}
}

func (r *resources) disks(b *strings.Builder) {
	plural(b, "Disk", "Disks", len(r.Storage.Disks))
	for n, d := range r.Storage.Disks {
		lines := []string{fmt.Sprintf("NUMA node: %d", d.NUMANode), "ID: " + d.ID, "Device: " + d.Device}
		if d.Model != "" {
			lines = append(lines, "Model: "+d.Model)
		}
		if d.Type != "" {
			lines = append(lines, "Type: "+d.Type)
		}
		lines = append(lines, "Size: "+byteSizeIEC(d.Size, 2))
		if d.WWN != "" {
			lines = append(lines, "WWN: "+d.WWN)
		}
		lines = append(lines, fmt.Sprintf("Read-Only: %v", d.ReadOnly), fmt.Sprintf("Removable: %v", d.Removable))
		if len(d.Partitions) > 0 {
			lines = append(lines, "Partitions:")
		}
		for _, p := range d.Partitions {
			lines = append(lines, fmt.Sprintf("  - Partition %d", p.Partition), "    ID: "+p.ID, "    Device: "+p.Device,
				fmt.Sprintf("    Read-Only: %v", p.ReadOnly), "    Size: "+byteSizeIEC(p.Size, 2))
		}
		entry(b, "Disk", n, len(r.Storage.Disks), lines)
	}
}

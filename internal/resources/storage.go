package resources

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/berthd/berth/api"
)

// sector is the unit of a block device's "size" file, whatever its blocks are.
const sector = 512

func (r reader) storage() api.ResourcesStorage {
	out := api.ResourcesStorage{Disks: []api.ResourcesStorageDisk{}}
	class := filepath.Join(r.sys, "class/block")
	for _, name := range names(class) {
		dir := filepath.Join(class, name)
		if !exists(dir, "device") || exists(dir, "partition") || number(dir, "size") == 0 || strings.HasPrefix(name, "sr") {
			continue // loop devices, device-mapper, partitions, empty drives
		}
		out.Disks = append(out.Disks, r.disk(dir, name))
	}
	out.Total = uint64(len(out.Disks))
	return out
}

func (r reader) disk(dir, name string) api.ResourcesStorageDisk {
	d := api.ResourcesStorageDisk{
		ID: name, Device: text(dir, "dev"), Model: text(dir, "device/model"), ReadOnly: text(dir, "ro") == "1",
		Size: number(dir, "size") * sector, Removable: text(dir, "removable") == "1", WWN: text(dir, "wwid"),
		NUMANode: number(dir, "device/numa_node"), BlockSize: number(dir, "queue/logical_block_size"),
		FirmwareVersion: text(dir, "device/firmware_rev"), RPM: number(dir, "queue/rotational"),
		Serial: text(dir, "device/serial"), Partitions: []api.ResourcesStorageDiskPartition{},
	}
	if d.Serial == "" {
		d.Serial = text(dir, "serial")
	}
	d.PCIAddress, d.USBAddress = bus(filepath.Join(dir, "device"))
	d.Type = diskType(dir, name, d.USBAddress)
	d.DevicePath = linkTo("/dev/disk/by-path", name, "")
	if id := linkTo("/dev/disk/by-id", name, "wwn-"); id != "" {
		d.DeviceID = filepath.Base(id)
	}
	for _, sub := range names(dir) {
		if !strings.HasPrefix(sub, name) || !exists(dir, sub, "partition") {
			continue
		}
		d.Partitions = append(d.Partitions, api.ResourcesStorageDiskPartition{
			ID: sub, Device: text(dir, sub, "dev"), ReadOnly: text(dir, sub, "ro") == "1",
			Size: number(dir, sub, "size") * sector, Partition: number(dir, sub, "partition"),
		})
	}
	return d
}

// diskType is how the disk is attached: virtio, nvme, usb, sata or scsi.
func diskType(dir, name, usb string) string {
	switch {
	case usb != "":
		return "usb"
	case strings.HasPrefix(name, "nvme"):
		return "nvme"
	}
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err == nil && strings.Contains(path, "/ata") {
		return "sata"
	}
	return linked(dir, "device/subsystem")
}

// linkTo finds a link of a folder of /dev/disk that leads to a device and does not begin with a prefix.
func linkTo(folder, device, not string) string {
	for _, name := range names(folder) {
		if not != "" && strings.HasPrefix(name, not) {
			continue
		}
		target, err := os.Readlink(filepath.Join(folder, name))
		if err == nil && filepath.Base(target) == device {
			return filepath.Join(folder, name)
		}
	}
	return ""
}

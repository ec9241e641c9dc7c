package resources

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// tree makes files below a folder; a value that begins with "->" is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		full := filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "->"); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestThreadsAreSortedIntoCoresAndSockets(t *testing.T) {
	files := map[string]string{"proc/cpuinfo": "processor\t: 0\nvendor_id\t: V\nmodel name\t: M 1\n\nprocessor : 1\n", "sys/devices/system/cpu/isolated": "3\n"}
	for cpu, at := range map[string][2]string{"cpu0": {"0", "0"}, "cpu1": {"0", "1"}, "cpu2": {"0", "0"}, "cpu3": {"1", "0"}} {
		files["sys/devices/system/cpu/"+cpu+"/topology/physical_package_id"] = at[0] + "\n"
		files["sys/devices/system/cpu/"+cpu+"/topology/core_id"] = at[1] + "\n"
	}
	files["sys/devices/system/cpu/cpu2/online"] = "0\n"
	files["sys/devices/system/cpu/cpu0/cache/index0/size"] = "32K\n"
	files["sys/devices/system/cpu/cpu3/node1/x"] = ""
	root := tree(t, files)
	c := reader{sys: root + "/sys", proc: root + "/proc"}.cpu()
	if c.Total != 3 || len(c.Sockets) != 2 || len(c.Sockets[0].Cores) != 2 || len(c.Sockets[0].Cores[0].Threads) != 2 {
		t.Fatalf("%+v", c)
	}
	s := c.Sockets[0]
	if s.Name != "M 1" || s.Vendor != "V" || s.Cache[0].Size != 32768 {
		t.Errorf("socket %+v", s)
	}
	if th := s.Cores[0].Threads[1]; th.ID != 2 || th.Online || th.Thread != 1 {
		t.Errorf("second thread %+v", th)
	}
	if th := c.Sockets[1].Cores[0].Threads[0]; !th.Isolated || th.NUMANode != 1 {
		t.Errorf("thread %+v", th)
	}
}

func TestDisks(t *testing.T) {
	root := tree(t, map[string]string{
		"sys/devices/sda/size": "2048\n", "sys/devices/sda/dev": "8:0\n", "sys/devices/sda/device/model": "Disk  \n",
		"sys/devices/sda/sda1/partition": "1\n", "sys/devices/sda/sda1/size": "8\n", "sys/devices/sda/sda1/dev": "8:1\n",
		"sys/devices/loop0/size": "8\n",
		"sys/class/block/sda":    "->../../devices/sda", "sys/class/block/sda1": "->../../devices/sda/sda1", "sys/class/block/loop0": "->../../devices/loop0",
	})
	s := reader{sys: root + "/sys"}.storage()
	if s.Total != 1 || s.Disks[0].Size != 1<<20 || s.Disks[0].Model != "Disk" || len(s.Disks[0].Partitions) != 1 || s.Disks[0].Partitions[0].Size != 4096 {
		t.Errorf("%+v", s)
	}
}

func TestMemory(t *testing.T) {
	root := tree(t, map[string]string{
		"proc/meminfo":                          "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 60 kB\nHugePages_Total: 3\nHugePages_Free: 1\nHugepagesize: 2048 kB\n",
		"sys/devices/system/node/node0/meminfo": "Node 0 MemTotal: 100 kB\nNode 0 MemFree: 90 kB\n",
	})
	m, err := reader{sys: root + "/sys", proc: root + "/proc"}.memory()
	if err != nil || m.Used != 40<<10 || m.HugepagesUsed != 2*2048<<10 || len(m.Nodes) != 1 || m.Nodes[0].Used != 10<<10 {
		t.Errorf("%v %+v", err, m)
	}
}

func TestIDs(t *testing.T) {
	table := map[string]string{}
	readIDs(bufio.NewScanner(strings.NewReader("# c\n1af4  Red Hat, Inc.\n\t1041  Virtio network\n\t\t1 2  x\nC 00  Class\n\t01  no\n")), table)
	if table["1af4"] != "Red Hat, Inc." || table["1af4:1041"] != "Virtio network" || len(table) != 2 {
		t.Errorf("%v", table)
	}
}

// TestThisMachine: whatever the machine, it has memory and a CPU.
func TestThisMachine(t *testing.T) {
	r, err := Read()
	if err != nil || r.Memory.Total == 0 || r.Memory.Used == 0 || r.CPU.Total == 0 || len(r.CPU.Sockets) == 0 {
		t.Fatalf("%v %+v", err, r)
	}
}

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berthd/berth/test/harness"
)

func command(name string, args ...string) *exec.Cmd { return exec.Command(name, args...) }

func TestTheKernelHasCgroup2Alone(t *testing.T) {
	inLab(t)
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC {
		t.Errorf("/sys/fs/cgroup has the type %x: %v", fs.Type, err)
	}
	for _, line := range strings.Split(read(t, "/proc/mounts"), "\n") {
		if fields := strings.Fields(line); fields[2] == "cgroup" {
			t.Errorf("a hierarchy of version 1 is mounted: %s", line)
		}
	}
	have := strings.Fields(read(t, "/sys/fs/cgroup/cgroup.subtree_control"))
	for _, want := range []string{"cpuset", "cpu", "io", "memory", "pids"} {
		if !strings.Contains(" "+strings.Join(have, " ")+" ", " "+want+" ") {
			t.Errorf("groups below the top do not get %s: %q", want, have)
		}
	}
}

func TestTheKernelHasAppArmor(t *testing.T) {
	inLab(t)
	if got := read(t, "/sys/module/apparmor/parameters/enabled"); got != "Y" {
		t.Fatalf("AppArmor is enabled: %q", got)
	}
	const name = "berth-lab-probe"
	profile := filepath.Join(t.TempDir(), "profile")
	text := "profile " + name + " { file, deny /etc/hostname r, }\n"
	if err := os.WriteFile(profile, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "apparmor_parser", "--replace", "--skip-cache", profile)
	later(t, "apparmor_parser", "--remove", profile)
	if out, err := command("aa-exec", "-p", name, "--", "cat", "/etc/hosts").CombinedOutput(); err != nil {
		t.Errorf("what a profile allows is refused: %v: %s", err, out)
	}
	if out, err := command("aa-exec", "-p", name, "--", "cat", "/etc/hostname").CombinedOutput(); err == nil {
		t.Errorf("what a profile denies is allowed: %s", out)
	}
}

func TestLVMHasThinPools(t *testing.T) {
	inLab(t)
	run(t, "modprobe", "dm-thin-pool")
	const group = "berthlab"
	device := loop(t, 128)
	run(t, "vgcreate", "-qq", group, device)
	later(t, "vgremove", "-qq", "--force", group)
	run(t, "lvcreate", "-qq", "--type", "thin-pool", "--size", "64m", "--name", "pool", group)
	run(t, "lvcreate", "-qq", "--type", "thin", "--virtualsize", "256m", "--thinpool", "pool", "--name", "volume", group)
	content := random(t, 1<<20)
	volume := "/dev/" + group + "/volume"
	overwrite(t, volume, content)
	run(t, "lvcreate", "-qq", "--snapshot", "--setactivationskip", "n", "--name", "before", group+"/volume")
	overwrite(t, volume, random(t, 1<<20))
	wantContent(t, "/dev/"+group+"/before", content)
}

// overwrite writes to a device and makes sure that it arrives.
func overwrite(t *testing.T, device string, content []byte) {
	t.Helper()
	file, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := file.Sync(); err != nil {
		t.Fatal(err)
	}
}

func TestZFSHasSnapshotsAndClones(t *testing.T) {
	inLab(t)
	if os.Getenv("BERTH_LAB_ZFS") != "yes" {
		t.Skip("the guest's image was built without ZFS: no modules lay ready for its kernel")
	}
	run(t, "modprobe", "zfs")
	const pool = "berthlab"
	run(t, "zpool", "create", "-m", t.TempDir()+"/pool", pool, loop(t, 128))
	later(t, "zpool", "destroy", pool)
	run(t, "zfs", "create", pool+"/a")
	file := strings.TrimSpace(run(t, "zfs", "get", "-Hpo", "value", "mountpoint", pool+"/a")) + "/f"
	content := random(t, 1<<20)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "zfs", "snapshot", pool+"/a@s")
	if err := os.WriteFile(file, random(t, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "zfs", "clone", pool+"/a@s", pool+"/b")
	wantContent(t, filepath.Join(filepath.Dir(filepath.Dir(file)), "b", "f"), content)
}

func TestOpenVSwitchHasItsKernelDatapath(t *testing.T) {
	inLab(t)
	run(t, "modprobe", "openvswitch")
	const ctl = "/usr/share/openvswitch/scripts/ovs-ctl"
	run(t, ctl, "start", "--system-id=lab", "--no-monitor")
	later(t, ctl, "stop")
	run(t, "ovs-vsctl", "add-br", "berthlab0", "--", "set", "bridge", "berthlab0", "datapath_type=system")
	later(t, "ovs-vsctl", "del-br", "berthlab0")
	if datapaths := run(t, "ovs-dpctl", "dump-dps"); !strings.Contains(datapaths, "system@") {
		t.Errorf("the kernel has no datapath: %q", datapaths)
	}
	for i, ns := range []string{"berthlab-a", "berthlab-b"} {
		end := "berthlab" + string(rune('1'+i))
		run(t, "ip", "netns", "add", ns)
		later(t, "ip", "netns", "del", ns)
		run(t, "ip", "link", "add", end, "up", "type", "veth", "peer", "name", "eth0", "netns", ns)
		run(t, "ovs-vsctl", "add-port", "berthlab0", end)
		run(t, "ip", "-n", ns, "address", "add", "192.0.2."+string(rune('1'+i))+"/24", "dev", "eth0")
		run(t, "ip", "-n", ns, "link", "set", "eth0", "up")
	}
	run(t, "ip", "netns", "exec", "berthlab-a", "ping", "-q", "-c", "1", "-w", "60", "192.0.2.2")
	if flows := run(t, "ovs-dpctl", "show"); !strings.Contains(flows, "berthlab1") {
		t.Errorf("the port is not in the kernel's datapath: %s", flows)
	}
}

func TestNBDReadsAndWrites(t *testing.T) {
	inLab(t)
	run(t, "modprobe", "nbd", "nbds_max=4")
	file := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(file, make([]byte, 16<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	configuration := filepath.Join(t.TempDir(), "nbd")
	text := "[generic]\nlistenaddr = 127.0.0.1\n[disk]\nexportname = " + file + "\n"
	if err := os.WriteFile(configuration, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	server := command("nbd-server", "--dont-fork", "-C", configuration)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	harness.Eventually(t, 5*time.Second, "the server takes connections", func() bool {
		return command("nbd-client", "-N", "disk", "127.0.0.1", "/dev/nbd0").Run() == nil
	})
	content := random(t, 1<<20)
	overwrite(t, "/dev/nbd0", content)
	run(t, "nbd-client", "-d", "/dev/nbd0")
	wantContent(t, file, content)
}

// TestFileSystemsHoldProjectsToTheirQuota: ext4 and xfs limit folders by project, btrfs limits subvolumes.
func TestFileSystemsHoldProjectsToTheirQuota(t *testing.T) {
	inLab(t)
	project := func(options string, mkfs ...string) func(t *testing.T) string {
		return func(t *testing.T) string {
			dir := mounted(t, loop(t, 512), options, mkfs...)
			held := filepath.Join(dir, "held")
			if err := os.Mkdir(held, 0o700); err != nil {
				t.Fatal(err)
			}
			run(t, "xfs_quota", "-f", "-x", "-D", "/dev/null", "-P", "/dev/null", "-c", "project -s -p "+held+" 42", "-c", "limit -p bhard=4m 42", dir)
			return held
		}
	}
	kinds := map[string]func(t *testing.T) string{
		"ext4": project("prjquota", "mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"),
		"xfs":  project("prjquota", "mkfs.xfs", "-q", "-f"),
		"btrfs": func(t *testing.T) string {
			dir := mounted(t, loop(t, 512), "defaults", "mkfs.btrfs", "-q", "-f")
			run(t, "btrfs", "quota", "enable", dir)
			run(t, "btrfs", "-q", "subvolume", "create", dir+"/held")
			run(t, "btrfs", "qgroup", "limit", "4m", dir+"/held")
			return dir + "/held"
		},
	}
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			held := make(t)
			if out, err := fill(held+"/small", 2); err != nil {
				t.Errorf("2 MiB under a limit of 4: %v: %s", err, out)
			}
			if out, err := fill(held+"/large", 8); err == nil {
				t.Errorf("8 MiB more under a limit of 4 MiB went through: %s", out)
			}
			if out, err := fill(filepath.Dir(held)+"/free", 8); err != nil {
				t.Errorf("8 MiB beside what is limited: %v: %s", err, out)
			}
		})
	}
}

// fill writes a file and makes sure that it is on the disk, as quotas may come into effect no earlier. Nobody writes it: root may pass ext4's limits.
func fill(path string, megabytes int) (string, error) {
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	var complaint strings.Builder
	cmd := command("dd", "if=/dev/zero", "bs=1M", fmt.Sprintf("count=%d", megabytes), "conv=fsync")
	cmd.Stdout, cmd.Stderr = file, &complaint
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	err = cmd.Run()
	return complaint.String(), err
}

package guest

import (
	"strings"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestDeviceRulesOnCgroup2: there they are a BPF program on the group, which only its effect shows. Root in a privileged container may make nodes;
// opening one of the host's disk must be refused all the same.
func TestDeviceRulesOnCgroup2(t *testing.T) {
	inLab(t)
	c := launch(t, harness.New(t).Pool().Image(), "c1", "-c", "security.privileged=true")
	disk := strings.Replace(read(t, "/sys/class/block/vda/dev"), ":", " ", 1)
	if out, err := c.try("sh", "-c", "mknod /root/disk b "+disk+" && mount -o remount,dev / ; head -c 512 /root/disk > /dev/null"); err == nil {
		t.Errorf("a privileged container reads the host's disk: %s", out)
	} else if !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("the host's disk is out of reach, but not for a rule: %v", err)
	}
	if out, err := c.try("sh", "-c", "head -c 1 /dev/zero > /dev/null && head -c 1 /dev/urandom > /dev/null"); err != nil {
		t.Errorf("devices that every container has: %v: %s", err, out)
	}
}

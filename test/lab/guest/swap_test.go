package guest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berthd/berth/test/harness"
)

// TestSwapFollowsItsKey: LXD documents limits.memory.swap as whether the instance's memory may be swapped out, true by default. (LXD 5.0.2 does the
// opposite on cgroup v2.)
func TestSwapFollowsItsKey(t *testing.T) {
	inLab(t)
	swap := filepath.Join(t.TempDir(), "swap")
	run(t, "dd", "if=/dev/zero", "of="+swap, "bs=1M", "count=192", "status=none")
	if err := os.Chmod(swap, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "mkswap", "--quiet", swap)
	run(t, "swapon", swap)
	later(t, "swapoff", swap)

	c := launch(t, harness.New(t).Pool().Image(), "c1", "-c", "limits.memory=48MiB")
	allowed := func(what string) {
		t.Helper()
		if got := read(t, c.group+"/memory.swap.max"); got == "0" {
			t.Errorf("%s: memory.swap.max is 0", what)
		}
		if _, err := c.allocate("80M"); err != nil {
			t.Errorf("%s: 80 MiB with 48 MiB of memory and swap: %v", what, err)
		}
	}
	allowed("limits.memory.swap unset")
	c.set(t, "limits.memory.swap", "false", "memory.swap.max", "0")
	if _, err := c.allocate("80M"); err == nil {
		t.Error("limits.memory.swap=false: 80 MiB went through with 48 MiB of memory")
	}
	c.config(t, "limits.memory.swap", "true")
	allowed("limits.memory.swap=true")
	c.Berth("restart", "--force", "c1")
	c.find(t)
	allowed("limits.memory.swap=true, started anew")
}

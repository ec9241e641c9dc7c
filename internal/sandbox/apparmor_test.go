package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/apparmor"
	"github.com/berthd/berth/internal/sandbox"
)

func TestOnlyStartStartsACommand(t *testing.T) {
	cmd, err := sandbox.Tool(context.Background(), sandbox.Limits{}, "/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); err == nil {
		t.Error("a command has run past its profile")
	}
}

// Without AppArmor nothing is loaded, and nothing is in the way.
func TestAHostWithoutAppArmorCostsNothing(t *testing.T) {
	t.Cleanup(func() { sandbox.UseAppArmor(nil) })
	for _, host := range []*apparmor.Host{nil, {}} {
		sandbox.UseAppArmor(host, t.TempDir())
		if said, err := shell(t, sandbox.Limits{}, "echo ran"); err != nil || strings.TrimSpace(said) != "ran" {
			t.Errorf("%v: %s", err, said)
		}
		if err := sandbox.Unload(); err != nil {
			t.Error(err)
		}
	}
}

func TestAToolReachesOnlyWhatItsProfileNames(t *testing.T) {
	root := t.TempDir()
	h := apparmor.New(root)
	if state, why := h.State(); state != apparmor.On {
		t.Skip("needs a kernel with AppArmor, such as the lab's: " + why)
	}
	for dir := root; dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"images", "other"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name, "f"), []byte(name+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sandbox.UseAppArmor(h, filepath.Join(root, "images"))
	t.Cleanup(func() { sandbox.UseAppArmor(nil) })
	said, _ := shell(t, sandbox.Limits{}, `read x < `+root+`/images/f; echo "$x"; read y < `+root+`/other/f; echo "y=$y"`)
	if !strings.HasPrefix(said, "images\n") || !strings.Contains(said, "denied") || !strings.Contains(said, "y=\n") {
		t.Error(said)
	}
	if err := sandbox.Unload(); err != nil {
		t.Error(err)
	}
	if names, err := h.Loaded(); err != nil || len(names) != 0 {
		t.Errorf("left: %q %v", names, err)
	}
}

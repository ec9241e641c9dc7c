package selinux

import (
	"os"
	"path/filepath"
	"testing"
)

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestContainerContext(t *testing.T) {
	const policy = "process = \"system_u:system_r:svirt_lxc_net_t:s0:c1,c2\"\ncontent = \"system_u:object_r:virt_var_lib_t:s0\"\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"nothing":    {nil, fallback},
		"named":      {map[string]string{"config": "# x\nSELINUX=enforcing\nSELINUXTYPE=targeted\n", "targeted/contexts/lxc_contexts": policy}, "system_u:system_r:svirt_lxc_net_t:s0:c1,c2"},
		"no file":    {map[string]string{"config": "SELINUXTYPE=targeted\n"}, fallback},
		"no level":   {map[string]string{"config": "SELINUXTYPE=default", "default/contexts/lxc_contexts": "process = system_u:system_r:lxc_t"}, "system_u:system_r:lxc_t"},
		"not one":    {map[string]string{"config": "SELINUXTYPE=default", "default/contexts/lxc_contexts": "process = \"x y\nlxc.hook = z\""}, fallback},
		"other path": {map[string]string{"config": "SELINUXTYPE=../x", "x/contexts/lxc_contexts": policy}, fallback},
	} {
		root := t.TempDir()
		write(t, root, c.files)
		if got := containerContext(root); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestEnabledNeedsAPolicy(t *testing.T) {
	root := t.TempDir()
	if enabled(root) {
		t.Error("without the file system")
	}
	write(t, root, map[string]string{"enforce": "0"})
	if enabled(root) {
		t.Error("without a policy")
	}
	write(t, root, map[string]string{"class/process/index": "2"})
	if !enabled(root) {
		t.Error("with a policy")
	}
}

// TestThisHost asks the real kernel: where there is no SELinux, containers get no context.
func TestThisHost(t *testing.T) {
	_, err := os.Stat(filepath.Join(kernelFS, "policyvers"))
	if got := ContainerContext(); (got != "") != (err == nil && Enabled()) {
		t.Errorf("context %q, SELinux %v, %v", got, Enabled(), err)
	}
}

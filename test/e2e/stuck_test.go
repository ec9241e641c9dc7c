package e2e

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/berthd/berth/test/harness"
)

// A client that somebody has stopped with Ctrl-Z does not hold back the end of the daemon.
func TestAStoppedClientDoesNotHoldBackTheShutdown(t *testing.T) {
	d := harness.New(t).Pool().Image()
	d.Berth("launch", "bb", "c1")
	client := exec.Command(harness.Program("berth"), "exec", "c1", "--", "yes")
	client.Env = d.Environ()
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = client.Process.Kill()
		_ = client.Wait()
	})
	harness.Eventually(t, 20*time.Second, "the command runs", func() bool {
		_, err := d.Try(harness.Program("berth"), "exec", "c1", "--", "pidof", "yes")
		return err == nil
	})
	if err := client.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	const limit = 20 * time.Second
	began := time.Now()
	if _, err := d.Try(harness.Program("berthd"), "shutdown", "--timeout", "20"); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > limit+10*time.Second {
		t.Errorf("the shutdown took %s", took)
	}
	d.WaitEnd(5 * time.Second)
	d.Start()
}

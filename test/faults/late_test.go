package faults

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/internal/fault"
	"github.com/berthd/berth/test/harness"
)

// latePool is a daemon with the instance c1 on a pool of its own, which can be away when the daemon starts.
type latePool struct {
	*harness.Daemon
	source string
}

func newLatePool(t *testing.T) *latePool {
	d := harness.New(t).Pool().Image()
	p := &latePool{d, filepath.Join(filepath.Dir(d.Dir), "late")}
	if err := os.Mkdir(p.source, 0o711); err != nil {
		t.Fatal(err)
	}
	d.Berth("storage", "create", "late", "dir", "source="+p.source)
	return p
}

// file is a file of c1, as the host sees it.
func (p *latePool) file(name string) string {
	return filepath.Join(p.source, "containers", "c1", "rootfs", name)
}

func (p *latePool) write(name, text string) {
	p.T.Helper()
	if err := os.WriteFile(p.file(name), []byte(text), 0o644); err != nil {
		p.T.Fatal(err)
	}
}

func (p *latePool) read(name string) string {
	data, err := os.ReadFile(p.file(name))
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// cutOff has a call pass a point at which the daemon is killed, and starts the next daemon while the pool is away. A start of c1, if it
// does not run, must fail then. Afterwards the pool is there.
func (p *latePool) cutOff(point string, call ...string) {
	p.T.Helper()
	p.Restart(fault.Env + "=" + point + "=kill")
	_, _ = p.Try(harness.Program("berth"), call...)
	harness.Eventually(p.T, 20*time.Second, "the daemon ends at "+point, p.Ended)
	if err := os.Rename(p.source, p.source+".away"); err != nil {
		p.T.Fatal(err)
	}
	p.Start()
	if status(p.Daemon, "c1") != "Running" {
		if out, err := p.Try(harness.Program("berth"), "start", "c1"); err == nil {
			p.T.Errorf("%s: it starts without its pool: %s", point, out)
		}
	}
	if err := os.Rename(p.source+".away", p.source); err != nil {
		p.T.Fatal(err)
	}
}

// TestRestoreCutOffWithLatePoolIsSettledBeforeStart: once the instance runs, nothing of what it writes is taken away by what is left of a change.
func TestRestoreCutOffWithLatePoolIsSettledBeforeStart(t *testing.T) {
	p := newLatePool(t)
	for _, kind := range []string{"restore", "refresh"} {
		for _, point := range points(t) {
			if !strings.HasPrefix(point, "instance."+kind+".") {
				continue
			}
			p.Berth("init", "bb", "c1", "-s", "late")
			p.write("content", "old")
			call := []string{"restore", "c1", "s0"}
			if kind == "restore" {
				p.Berth("snapshot", "c1", "s0")
				p.Berth("start", "c1")
			} else {
				p.Berth("copy", "c1", "c0", "-s", "late")
				call = []string{"copy", "c0", "c1", "--refresh"}
			}
			p.write("content", "new")
			p.cutOff(point, call...)
			harness.Eventually(t, 60*time.Second, point+": c1 runs", func() bool {
				if status(p.Daemon, "c1") != "Running" {
					_, _ = p.Try(harness.Program("berth"), "start", "c1")
				}
				return status(p.Daemon, "c1") == "Running"
			})
			content := p.read("content")
			if content != "old" && content != "new" {
				t.Errorf("%s: it holds %q", point, content)
			}
			p.write("work", "of the guest")
			p.Restart()
			if got, again := p.read("work"), p.read("content"); got != "of the guest" || again != content {
				t.Errorf("%s: after the next start its work is %q, and it holds %q, not %q\n%s", point, got, again, content, p.Log())
			}
			if s := status(p.Daemon, "c1"); s != "Running" {
				t.Errorf("%s: after the next start it is %s", point, s)
			}
			p.Berth("delete", "-f", "c1")
			if kind == "refresh" {
				p.Berth("delete", "c0")
			}
			counts.kills.Add(1)
		}
	}
	p.Kill()
	for _, l := range p.Journal() {
		t.Errorf("the journal holds %s", l)
	}
	p.Start()
	p.Berth("storage", "delete", "late")
}

// TestDeleteCutOffWithLatePoolLeavesNothing: an instance whose removal was cut off is not started, to be removed under what it runs.
func TestDeleteCutOffWithLatePoolLeavesNothing(t *testing.T) {
	p := newLatePool(t)
	p.Berth("init", "bb", "c1", "-s", "late")
	p.cutOff("instance.delete.begun", "delete", "c1")
	if out, err := p.Try(harness.Program("berth"), "start", "c1"); err == nil {
		t.Errorf("it starts: %s", out)
	}
	harness.Eventually(t, 60*time.Second, "c1 is gone", func() bool { return !get(p.Daemon, onec1, nil) })
	counts.kills.Add(1)
	p.Restart()
	if _, err := os.Stat(p.file("")); !os.IsNotExist(err) {
		t.Errorf("its content: %v", err)
	}
	p.Berth("storage", "delete", "late")
}

package bench

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berthd/berth/client"
)

// The lines are those of lxd-benchmark 5.0.2, but for their numbers.
func TestReportIsThatOfLXDBenchmark(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.csv")
	for _, run := range []struct {
		label  string
		failed int
	}{{"init", 0}, {"a,b", 0}, {"delete", 2}} {
		if err := Report(path, run.label, Result{Elapsed: 1500 * time.Millisecond, Failed: run.failed}); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "timeStamp,elapsed,label,responseCode,success\nT,1500,init,,true\nT,1500,\"a,b\",,true\nT,1500,delete,,false\n"
	if got := regexp.MustCompile(`(?m)^\d{13}`).ReplaceAllString(string(data), "T"); got != want {
		t.Errorf("%s", got)
	}
}

func TestPrint(t *testing.T) {
	var r Result
	for i := range 400 {
		r.Took = append(r.Took, time.Duration(i)*time.Millisecond)
		r.Ended = append(r.Ended, time.Duration(i+1)*10*time.Millisecond)
	}
	r.Count, r.Elapsed, r.Failed = 400, 4*time.Second, 1
	var out strings.Builder
	Print(&out, "launch", r)
	PrintMemory(&out, Memory{Available: 5000, Daemon: 20}, Memory{Available: 1000, Daemon: 30, Monitors: 4, MonitorKiB: 40}, 400)
	want := `launch: 400 containers in 4.000 s, 100.0/s, 1 failed or lost
one of them: median 200.0 ms, 90 % within 360.0, 99 % within 396.0, longest 399.0
rate of the first hundred 100.0/s, of the last hundred 100.0/s, last / first 1.00
memory: +4000 KiB of the machine's in use, +10 a container; daemon 30 KiB, 20 before; 4 monitors of 10 KiB each
`
	if out.String() != want {
		t.Errorf("%s", out.String())
	}
}

// A call that hangs ends with its limit, counts, and does not keep the others.
func TestHungCallsAreCounted(t *testing.T) {
	b := &Bench{Client: new(client.Client), Parallel: 4, Out: io.Discard, Limit: 20 * time.Millisecond}
	var most, now atomic.Int32
	r, err := b.each(t.Context(), strings.Split("a b c d e f g h", " "), func(c *client.Client, name string) error {
		most.Store(max(most.Load(), now.Add(1)))
		defer now.Add(-1)
		if name == "c" {
			return context.DeadlineExceeded
		}
		return nil
	})
	if r.Failed != 1 || len(r.Ended) != 8 || !errors.Is(err, context.DeadlineExceeded) || most.Load() > 4 {
		t.Errorf("%+v %v, %d at once", r, err, most.Load())
	}
	if r.Rate(0, 8) <= 0 || r.Rate(5, 2) != 0 || r.Rate(0, 9) != 0 {
		t.Error("rates")
	}
}

func TestUsedSeesThisProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if m := Used(path); m.Available < 1000 || m.Daemon < 1000 {
		t.Errorf("%+v", m)
	}
	if m := Used(path + "x"); m.Daemon != 0 {
		t.Errorf("%+v", m)
	}
}

package fdcount

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// told is a test that is told of failures, and does not fail by them.
type told struct {
	testing.TB
	said string
}

func (r *told) Helper()                        {}
func (r *told) Failed() bool                   { return r.said != "" }
func (r *told) Errorf(format string, _ ...any) { r.said = format }

func TestSteady(t *testing.T) {
	r := &told{TB: t}
	Steady(r, func() {
		f, err := os.Open(os.DevNull)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	})
	if r.said != "" {
		t.Errorf("of what closes its file: %s", r.said)
	}
	var kept []*os.File
	Steady(r, func() {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, f)
	})
	if !strings.Contains(r.said, "left open") {
		t.Errorf("of what keeps its file: %q", r.said)
	}
	for _, f := range kept {
		_ = f.Close()
	}
}

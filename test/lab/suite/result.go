package suite

import (
	"bytes"
	"io"
	"regexp"
	"strconv"
	"strings"
)

// Outcome is what became of a test.
type Outcome string

// The outcomes, as `go test -v` prints them.
const (
	Pass Outcome = "PASS"
	Fail Outcome = "FAIL"
	Skip Outcome = "SKIP"
)

// Result is one test's, or one subtest's.
type Result struct {
	Package string
	Test    string // "TestX" or "TestX/sub"
	Outcome Outcome
	Seconds float64
	Reason  string // the last line that it logged, which is why it was skipped
}

// Sub tells whether it is a part of another test.
func (r Result) Sub() bool { return strings.Contains(r.Test, "/") }

// Results reads the output of `go test -v` as it is written to it, passes it on, and keeps the results.
type Results struct {
	To   io.Writer
	All  []Result
	line []byte
	now  string            // whose output it is
	last map[string]string // test -> what it logged last
	open int               // results from here on belong to a package that is not yet named
}

var (
	runLine     = regexp.MustCompile(`^=== (?:RUN|NAME|CONT) +(\S+)$`)
	resultLine  = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (.+) \(([0-9.]+)s\)$`)
	packageLine = regexp.MustCompile(`^(?:ok|FAIL)\s+(\S+)\t`)
	logLine     = regexp.MustCompile(`^ +[a-zA-Z0-9_]+\.go:[0-9]+: (.*)$`)
)

// Write implements io.Writer.
func (r *Results) Write(p []byte) (int, error) {
	if r.To != nil {
		if n, err := r.To.Write(p); err != nil {
			return n, err
		}
	}
	r.line = append(r.line, p...)
	for {
		i := bytes.IndexByte(r.line, '\n')
		if i < 0 {
			return len(p), nil
		}
		r.read(string(r.line[:i]))
		r.line = r.line[i+1:]
	}
}

func (r *Results) read(line string) {
	if m := runLine.FindStringSubmatch(line); m != nil {
		r.now = m[1]
	} else if m := resultLine.FindStringSubmatch(line); m != nil {
		seconds, _ := strconv.ParseFloat(m[3], 64)
		r.All = append(r.All, Result{Test: m[2], Outcome: Outcome(m[1]), Seconds: seconds, Reason: r.last[m[2]]})
	} else if m := packageLine.FindStringSubmatch(line); m != nil {
		for i := range r.All[r.open:] {
			r.All[r.open+i].Package = m[1]
		}
		r.open, r.last = len(r.All), nil
	} else if m := logLine.FindStringSubmatch(line); m != nil {
		if r.last == nil {
			r.last = map[string]string{}
		}
		r.last[r.now] = m[1]
	}
}

// Count counts the tests, without subtests, of an outcome.
func (r *Results) Count(o Outcome) int {
	n := 0
	for _, result := range r.All {
		if !result.Sub() && result.Outcome == o {
			n++
		}
	}
	return n
}

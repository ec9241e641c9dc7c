package suite

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const output = `=== RUN   TestA
--- PASS: TestA (0.01s)
=== RUN   TestB
=== RUN   TestB/one
    b_test.go:12: too small
=== RUN   TestB/two
    b_test.go:20: needs a lion | and two lines
--- FAIL: TestB (1.50s)
    --- FAIL: TestB/one (0.50s)
    --- SKIP: TestB/two (0.00s)
FAIL
FAIL	github.com/berthd/berth/test/x	1.6s
=== RUN   TestA
    a_test.go:3: not here
--- SKIP: TestA (0.00s)
PASS
ok  	github.com/berthd/berth/test/y	0.1s
`

func results(t *testing.T, text string) *Results {
	t.Helper()
	var passed bytes.Buffer
	r := &Results{To: &passed}
	for _, part := range strings.SplitAfter(text, "T") { // a write does not end where a line ends
		if _, err := r.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	if passed.String() != text {
		t.Errorf("what was passed on differs: %q", passed.String())
	}
	return r
}

func TestResultsAreReadFromTheOutput(t *testing.T) {
	r := results(t, output)
	want := []Result{
		{"github.com/berthd/berth/test/x", "TestA", Pass, 0.01, ""},
		{"github.com/berthd/berth/test/x", "TestB", Fail, 1.5, ""},
		{"github.com/berthd/berth/test/x", "TestB/one", Fail, 0.5, "too small"},
		{"github.com/berthd/berth/test/x", "TestB/two", Skip, 0, "needs a lion | and two lines"},
		{"github.com/berthd/berth/test/y", "TestA", Skip, 0, "not here"},
	}
	if diff := cmp.Diff(want, r.All); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if p, f, s := r.Count(Pass), r.Count(Fail), r.Count(Skip); p != 1 || f != 1 || s != 1 {
		t.Errorf("counted %d passed, %d failed, %d skipped", p, f, s)
	}
}

func TestATableShowsBothAndWhy(t *testing.T) {
	lab := results(t, output+"=== RUN   TestCutOff\n--- PASS: TestCutOff (0.00s)\n")
	host := results(t, strings.ReplaceAll(strings.ReplaceAll(output, "--- FAIL: TestB/one", "--- PASS: TestB/one"), "--- FAIL: TestB ", "--- PASS: TestB "))
	var got strings.Builder
	if err := Table(&got, host.All, lab.All); err != nil {
		t.Fatal(err)
	}
	want := `
### test/x

| test | host | lab | why not |
|---|---|---|---|
| TestA | pass, 0.0 s | pass, 0.0 s |  |
| TestB | pass, 1.5 s | **FAIL** | lab:  |
| TestB/one | pass, 0.5 s | **FAIL** | lab: too small |
| TestB/two | skip | skip | host: needs a lion \| and two lines; lab: needs a lion \| and two lines |

### test/y

| test | host | lab | why not |
|---|---|---|---|
| TestA | skip | skip | host: not here; lab: not here |
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

func TestAListHasPackagesAndFlags(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	if err := os.WriteFile(path, []byte("# all of it\n./a/...\n\n./b -run A|B -short # some\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := ReadList(path)
	if diff := cmp.Diff([]Entry{{"./a/...", []string{}}, {"./b", []string{"-run", "A|B", "-short"}}}, got); err != nil || diff != "" {
		t.Errorf("%v\nwant (-), got (+):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"-test.run", "A|B", "-test.short", "-test.v"}, binaryFlags([]string{"-run", "A|B", "--short", "-test.v"})); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if err := os.WriteFile(path, []byte("-run A\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadList(path); err == nil || !strings.Contains(err.Error(), ":1:") {
		t.Errorf("a line without a package: %v", err)
	}
}

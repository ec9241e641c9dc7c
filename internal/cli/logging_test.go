package cli

import (
	"strings"
	"testing"
)

func TestVerboseShowsRequestsAndDebugWhatIsInThem(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", map[string]any{"auth": "trusted", "config": map[string]any{"core.trust_password": "hunter2"}})
	f.gives("PUT /1.0", struct{}{})
	command := []string{"config", "set", "core.trust_password=hunter3"}
	if got := berth("", command...); got.code != 0 || got.err != "" {
		t.Errorf("%+v", got)
	}
	verbose, debug := berth("", append(command, "-v")...), berth("", append(command, "--debug")...)
	if verbose.code != 0 || strings.Count(verbose.err, "\n") != strings.Count(verbose.err, "<-- ") || !strings.Contains(verbose.err, "<-- PUT http://unix.socket/1.0: 200 OK (") {
		t.Errorf("--verbose: %+v", verbose)
	}
	for _, want := range []string{"--> GET http://unix.socket/1.0\n", "<-- PUT http://unix.socket/1.0: 200 OK (", `"core.trust_password": "MASKED"`, `"type": "sync"`} {
		if !strings.Contains(debug.err, want) {
			t.Errorf("--debug: no %s in\n%s", want, debug.err)
		}
	}
	if strings.Contains(verbose.err+debug.err, "hunter") || debug.out != "" {
		t.Errorf("%s\n%s", debug.err, debug.out)
	}
}

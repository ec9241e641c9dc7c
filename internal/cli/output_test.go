package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

func TestWhatCannotBeWrittenIsAnError(t *testing.T) {
	f := newFake(t)
	f.gives("GET /1.0", map[string]any{"auth": "trusted", "api_extensions": []string{}})
	f.gives("GET /1.0/instances", []api.Instance{})
	f.gives("GET /1.0/profiles", []api.Profile{})
	f.gives("GET /1.0/profiles/p", api.Profile{Name: "p"})
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, command := range []string{"list", "list --format json", "version", "--version", "--help", "exec --help", "help list", "remote list",
		"remote get-default", "profile show p", "profile list --format compact", "alias list", "query /1.0", "completion bash", "profile create p"} {
		f.gives("POST /1.0/profiles", struct{}{})
		var errs bytes.Buffer
		app := &App{In: strings.NewReader(""), Out: full, Err: &errs}
		code := app.Run(strings.Fields(command))
		if code != 1 || errs.String() != "Error: write /dev/full: no space left on device\n" {
			t.Errorf("%s > /dev/full: %d, %q", command, code, errs.String())
		}
		if got := berth("", strings.Fields(command)...); got.code != 0 {
			t.Errorf("%s: %+v", command, got)
		}
	}
}

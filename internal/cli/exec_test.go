package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berthd/berth/api"
)

func TestFlagsOfExecEndWhereTheCommandBegins(t *testing.T) {
	f := newFake(t)
	var post api.InstanceExecPost
	f.answers["POST /1.0/instances/c1/exec"] = func(w http.ResponseWriter, _ *http.Request, body []byte) {
		_ = json.Unmarshal(body, &post)
		fail(w, http.StatusBadRequest, "far enough")
	}
	for _, tt := range []struct {
		args string
		want []string
		user uint32
	}{
		{"c1 sh -c hi", []string{"sh", "-c", "hi"}, 0},
		{"c1 -- sh -c hi", []string{"sh", "-c", "hi"}, 0},
		{"c1 --user 1000 -- id", []string{"id"}, 1000},
		{"c1 --user 1000 id -u", []string{"id", "-u"}, 1000},
		{"--user 1000 c1 id --user 5", []string{"id", "--user", "5"}, 1000},
		{"-- c1 id -u", []string{"id", "-u"}, 0},
		{"c1 -n -T --user=7 echo --help -v --debug --version", []string{"echo", "--help", "-v", "--debug", "--version"}, 7},
		{"c1 ls -- -l", []string{"ls", "--", "-l"}, 0},
		{"c1 -- ls --debug", []string{"ls", "--debug"}, 0},
	} {
		post = api.InstanceExecPost{}
		if got := berth("", append([]string{"exec"}, strings.Fields(tt.args)...)...); got.code != 1 || got.err != "Error: far enough\n" {
			t.Errorf("exec %s: %+v", tt.args, got)
		}
		if diff := cmp.Diff(tt.want, post.Command); diff != "" || post.User != tt.user {
			t.Errorf("exec %s: user %d, %s", tt.args, post.User, diff)
		}
	}
	for args, want := range map[string]string{
		"c1 --nosuch id":                       "Error: unknown flag: --nosuch\n",
		"c1 -c id":                             "Error: unknown shorthand flag: 'c' in -c\n",
		"c1":                                   "Error: Invalid number of arguments\n",
		"c1 --force-interactive -T -- id":      "Error: You can't pass -t and -T at the same time\n",
		"c1 -t --mode non-interactive -- true": "Error: You can't pass -t or -T at the same time as --mode\n",
	} {
		if got := berth("", append([]string{"exec"}, strings.Fields(args)...)...); got.code != 1 || got.err != want {
			t.Errorf("exec %s: %+v", args, got)
		}
	}
	// Scripts for lxc add one of these to every call.
	for _, flag := range []string{"--verbose", "--debug"} {
		post = api.InstanceExecPost{}
		if got := berth("", "exec", "c1", "stat", "/x", flag); got.code != 1 || !strings.Contains(got.err, "<-- POST ") || !cmp.Equal(post.Command, []string{"stat", "/x"}) {
			t.Errorf("a last %s: %q, %+v", flag, post.Command, got)
		}
	}
	if got := berth("", "exec", "c1", "--version"); got.code != 0 || len(f.asked("POST")) != 11 {
		t.Errorf("--version behind the name: %+v", got)
	}
}

package cli

import (
	"strings"
	"testing"

	"github.com/berthd/berth/api"
)

// A copy is a new instance, and has nothing that belongs to the very one it is made from.
func TestACopyIsANewInstance(t *testing.T) {
	f := newFake(t)
	source := api.Instance{Name: "c1", InstancePut: api.InstancePut{Config: map[string]string{
		"volatile.uuid": "of-c1", "volatile.eth0.hwaddr": "of-c1", "volatile.cloud-init.instance-id": "of-c1", "volatile.idmap.base": "of-c1",
		"volatile.base_image": "f00d", "volatile.last_state.idmap": "[]", "user.x": "y",
	}}}
	f.gives("GET /1.0/instances/c1", source)
	f.answers["POST /1.0/instances"] = ended
	if got := berth("", "copy", "c1", "c2"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	asked := strings.Join(f.asked("POST /1.0/instances"), "\n")
	if strings.Contains(asked, "of-c1") || !strings.Contains(asked, `"volatile.base_image":"f00d"`) || !strings.Contains(asked, `"user.x":"y"`) || !strings.Contains(asked, `"name":"c2"`) {
		t.Errorf("asked for %s", asked)
	}
	f.seen = nil
	if got := berth("", "copy", "c1", "c2/s1"); got.code != 1 || !strings.Contains(got.err, "a copy can't become a snapshot") || len(f.asked("POST")) > 0 {
		t.Errorf("%+v, asked for %q", got, f.asked("POST"))
	}
}

package instance

import (
	"fmt"
	"reflect"
	"testing"
	"unsafe"

	"github.com/berthd/berth/internal/device"
)

// TestSnapshotsShareWhatIsEqual looks at the memory that holds the parts of neighbours in the table.
func TestSnapshotsShareWhatIsEqual(t *testing.T) {
	h := newHouse(t, nil)
	body := oldBody(1)
	other := oldBody(1)
	other.Config["volatile.last_state.power"] = "RUNNING"
	other.Devices["eth0"] = device.Config{"type": "nic"}
	for n, b := range []Body{body, body, other} {
		_, err := h.Store.Commit(t.Context(), h.snapshots.Put(&Snapshot{Body: b}, "default", "c1", fmt.Sprintf("snap%d", n)))
		h.do(err)
	}
	rows := h.snapshots.List()
	first, second, third := rows[0].Value, rows[1].Value, rows[2].Value
	address := func(m any) uintptr { return reflect.ValueOf(m).Pointer() }
	if address(first.Config) != address(second.Config) || address(first.Devices) != address(second.Devices) || &first.Profiles[0] != &second.Profiles[0] {
		t.Error("equal snapshots have parts of their own")
	}
	if address(first.Config) == address(third.Config) || third.Config["volatile.last_state.power"] != "RUNNING" ||
		first.Config["volatile.last_state.power"] != "STOPPED" || len(first.Devices) != 1 || len(third.Devices) != 2 {
		t.Errorf("%+v, %+v", first, third)
	}
	if !reflect.DeepEqual(third.Config, other.Config) || !reflect.DeepEqual(third.Devices, other.Devices) {
		t.Errorf("%+v is not what was written", third)
	}
	keys := func(m map[string]string) map[string]*byte {
		list := map[string]*byte{}
		for key := range m {
			list[key] = unsafe.StringData(key)
		}
		return list
	}
	if !reflect.DeepEqual(keys(first.Config), keys(third.Config)) {
		t.Error("keys of different configurations are held twice")
	}
	if address(first.Devices["root"]) != address(third.Devices["root"]) {
		t.Error("an equal device is held twice")
	}
}

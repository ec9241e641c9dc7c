package instance

import (
	"fmt"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/berthd/berth/internal/device"
)

// TestSnapshotsShareWhatIsEqual looks at the memory that holds the parts of neighbours in the table, committed and loaded.
func TestSnapshotsShareWhatIsEqual(t *testing.T) {
	h := newHouse(t, nil)
	powered, nic := oldBody(1), oldBody(1)
	powered.Config["volatile.last_state.power"] = "RUNNING"
	powered.Config["volatile.last_state.ready"] = "false"
	nic.Devices["eth0"] = device.Config{"type": "nic"}
	bodies := []Body{oldBody(1), oldBody(1), powered, nic}
	for n, b := range bodies {
		_, err := h.Store.Commit(t.Context(), h.snapshots.Put(newSnapshot(b, time.Time{}), "default", "c1", fmt.Sprintf("snap%d", n)))
		h.do(err)
	}
	for range 2 {
		var kept []*Snapshot
		for n, row := range h.snapshots.List() {
			if got := row.Value.body(); !reflect.DeepEqual(got, bodies[n]) {
				t.Errorf("%+v is not what was written: %+v", got, bodies[n])
			}
			kept = append(kept, row.Value)
		}
		if !kept[0].config.same(kept[1].config) || kept[0].rest != kept[1].rest {
			t.Error("equal snapshots have parts of their own")
		}
		if kept[1].rest != kept[2].rest {
			t.Error("with another config all the rest is held twice")
		}
		own := map[*byte]string{}
		for _, text := range kept[2].config {
			own[unsafe.StringData(text)] = text
		}
		for _, text := range kept[1].config {
			delete(own, unsafe.StringData(text))
		}
		if len(own) != 2 {
			t.Errorf("of a config with two other members this is its own: %v", own)
		}
		address := func(m any) uintptr { return reflect.ValueOf(m).Pointer() }
		if address(kept[2].rest.body.Devices["root"]) != address(kept[3].rest.body.Devices["root"]) {
			t.Error("an equal device is held twice")
		}
		h = newHouse(t, h)
	}
}

package instance

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/berthd/berth/internal/store"
)

// asEarlier writes the journal's entries as earlier versions have them: what is committed there is "kept".
func (h *house) asEarlier() {
	h.t.Helper()
	list := h.entries()
	if len(list) != 1 {
		h.t.Fatalf("%d entries, want the one that was cut off", len(list))
	}
	var entry map[string]json.RawMessage
	h.do(json.Unmarshal(list[0].Value, &entry))
	var record map[string]any
	h.do(json.Unmarshal(entry["data"], &record))
	maps.DeleteFunc(record, func(key string, _ any) bool { return key == "kept" || key == "committed" })
	record["kept"] = true
	var err error
	entry["data"], err = json.Marshal(record)
	h.do(err)
	list[0].Value, err = json.Marshal(entry)
	h.do(err)
	h.putBack(list)
}

// TestAnEntryOfAnEarlierVersionIsFinished: a daemon that is upgraded finds changes that the old one had committed and not ended.
func TestAnEntryOfAnEarlierVersionIsFinished(t *testing.T) {
	t.Run("update", func(t *testing.T) {
		h := newHouse(t, nil)
		h.launch("c1", nil)
		st := h.cutOff(5, nil, map[string]map[string]string{"eth0": {"type": "nic", "net": "b"}})
		h.do(h.modify(t.Context(), "default", "c1", func(i *Instance) error { *i = *st.next; return nil }, h.ops(st)...))
		h.asEarlier()
		next := newHouse(t, h)
		next.do(next.Journal.Recover(t.Context()))
		next.do(next.Adopt(t.Context()))
		if now := next.situation(); !now.Plugged["c1/eth0#1"] || now.Plugged["c1/eth0"] || now.Up["c1/eth0"] || now.Known["c1/eth0"] != "b" {
			t.Errorf("the new device is not the one: %+v", now)
		}
		next.do(next.action("c1", "stop"))
		next.nothingLeft()
	})
	t.Run("restore", func(t *testing.T) {
		h := restorable(t)
		dead, committed := errors.New("the daemon has ended"), false
		h.engine.refuse = func(ops []store.Op) error {
			if committed {
				return dead
			}
			for _, op := range ops {
				value := string(op.Value)
				committed = committed || strings.HasPrefix(op.Key, "/journal/") && (strings.Contains(value, `"kept":true`) || strings.Contains(value, `"committed":true`))
			}
			return nil
		}
		_ = h.restoreS() // what it says depends on where the end comes
		h.engine.refuse = nil
		h.asEarlier()
		next := newHouse(t, h)
		next.do(next.Journal.Recover(t.Context()))
		next.do(next.Adopt(t.Context()))
		<-next.Autostart()
		if i := next.show("c1"); i.Status != "Running" || next.content("c1") != "old" || i.Config["user.when"] != "" {
			t.Errorf("it is %s, holds %q, and is configured as %v", i.Status, next.content("c1"), i.Config)
		}
		next.onlyVolumes("c1")
	})
}

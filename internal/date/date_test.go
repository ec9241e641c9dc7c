package date

import (
	"encoding/json"
	"testing"
	"time"
)

func TestEveryDateCanBeWritten(t *testing.T) {
	for text, want := range map[string]string{
		"2026-11-30T12:00:00+02:00": "2026-11-30T10:00:00Z",
		"9999-12-31T23:59:59-12:00": "9999-12-31T23:59:59Z",
		"0000-01-01T00:00:00+12:00": "0000-01-01T00:00:00Z",
		"0001-01-01T00:00:00Z":      "0001-01-01T00:00:00Z", // the zero time stays what it is
	} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(UTC(at))
		if err != nil || string(raw) != `"`+want+`"` {
			t.Errorf("%s: %s, %v", text, raw, err)
		}
	}
	if !UTC(time.Time{}).IsZero() {
		t.Error("the zero time has become a date")
	}
	if got := UTC(time.Now().AddDate(999999, 0, 0)).Year(); got != 9999 {
		t.Errorf("in a million years: %d", got)
	}
}

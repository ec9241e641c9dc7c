package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/berthd/berth/api"
)

// TestNeverIsNoDate: the API writes the year 1, and for some fields 1970, for what has not happened and never will.
func TestNeverIsNoDate(t *testing.T) {
	far := time.Date(2299, 12, 31, 23, 59, 59, 0, time.UTC)
	for _, c := range []struct {
		date  time.Time
		shown string // "": as never
	}{
		{time.Time{}, ""}, {time.Unix(0, 0), ""}, {time.Unix(1, 0), "1970/01/01"}, {far, "2299/12/31"}, {time.Unix(1<<31, 0), "2038/01/19"},
	} {
		f := newFake(t)
		image := api.Image{Fingerprint: "f00d", CreatedAt: c.date, LastUsedAt: c.date}
		image.ExpiresAt, image.UploadedAt = c.date, far
		f.gives("GET /1.0/images/f00d", image)
		instance := api.Instance{Name: "c1", Type: "container", Status: "Stopped", CreatedAt: c.date, LastUsedAt: c.date}
		snapshot := api.InstanceSnapshot{Name: "s1", CreatedAt: c.date}
		snapshot.ExpiresAt = c.date
		full := api.InstanceFull{Instance: instance, Snapshots: []api.InstanceSnapshot{snapshot}}
		f.gives("GET /1.0/instances/c1", full)
		f.gives("GET /1.0/instances", []api.InstanceFull{full})
		for command, dates := range map[string]int{"image info f00d": 3, "info c1": 4, "list -c ncl": 2} {
			got := berth("", strings.Fields(command)...)
			if got.code != 0 {
				t.Fatalf("%s: %s", command, got.err)
			}
			if c.shown != "" {
				if n := strings.Count(got.out, c.shown); n < dates {
					t.Errorf("%s of %s shows it %d times, not %d: %s", command, c.date, n, dates, got.out)
				}
				continue
			}
			for _, year := range []string{"0001/", "1970/", "1969/"} {
				if strings.Contains(got.out, year) {
					t.Errorf("%s shows %s for never: %s", command, year, got.out)
				}
			}
			if want := map[string]string{"image info f00d": "Expires: never\n    Last used: never\n"}[command]; !strings.Contains(got.out, want) {
				t.Errorf("%s does not say %q: %s", command, want, got.out)
			}
		}
	}
}

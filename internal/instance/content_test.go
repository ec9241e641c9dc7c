package instance

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestImageProperties(t *testing.T) {
	own := map[string]string{"os": "busybox", "release": "1"}
	config := map[string]string{"image.release": "2", "image.label": "x", "image.": "no name", "image.empty": "", "user.os": "y", "volatile.base_image": "f00d"}
	if diff := cmp.Diff(map[string]string{"os": "busybox", "release": "2", "label": "x"}, imageProperties(own, config)); diff != "" {
		t.Error(diff)
	}
	if own["release"] != "1" {
		t.Error("the metadata's own were changed")
	}
	if diff := cmp.Diff(map[string]string{}, imageProperties(nil, nil)); diff != "" {
		t.Error(diff)
	}
}

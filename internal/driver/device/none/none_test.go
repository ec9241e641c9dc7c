package none

import (
	"context"
	"testing"

	"github.com/berthd/berth/internal/device"
)

func TestValidate(t *testing.T) {
	ctx := context.Background()
	if err := (Module{}).Validate(ctx, device.Instance{}, "n", device.Config{"type": "none"}); err != nil {
		t.Error(err)
	}
	err := Module{}.Validate(ctx, device.Instance{}, "n", device.Config{"type": "none", "foo": "bar"})
	if err == nil || err.Error() != `Invalid device option "foo"` {
		t.Errorf("got %v", err)
	}
}

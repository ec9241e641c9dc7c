package archive

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLargeWindowsBesideAHungPool: whoever writes to a disk that hangs keeps a window for as long as it does.
func TestLargeWindowsBesideAHungPool(t *testing.T) {
	needRoot(t)
	archive := fileOf(t, zstdFrame(window256M, tarOf(t, "file")))
	synctest.Test(t, func(t *testing.T) {
		const hung, sound = 1, 2
		held, err := open(t.Context(), archive, nil, hung)
		must(t, err)
		other, err := open(t.Context(), archive, nil, sound)
		if err != nil {
			t.Fatalf("another disk: %v", err)
		}
		must(t, other.Close())
		began := time.Now()
		if _, err := open(t.Context(), archive, nil, hung); !errors.Is(err, ErrBusy) || time.Since(began) != windowPatience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		must(t, held.Close())
		again, err := open(t.Context(), archive, nil, hung)
		must(t, err)
		must(t, again.Close())
	})
}

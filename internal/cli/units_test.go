package cli

import (
	"math"
	"testing"
)

func TestSizesForPeople(t *testing.T) {
	for n, want := range map[int64][2]string{
		0: {"0B", "0B"}, 999: {"999B", "999B"}, 1000: {"1.00kB", "1000B"}, 1536: {"1.54kB", "1.50KiB"},
		1 << 30: {"1.07GB", "1.00GiB"}, math.MaxInt64: {"9.22EB", "8.00EiB"},
	} {
		if got := [2]string{byteSize(n, 2), byteSizeIEC(n, 2)}; got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

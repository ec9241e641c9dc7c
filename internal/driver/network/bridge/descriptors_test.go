package bridge

import (
	"net"
	"testing"

	"github.com/berthd/berth/internal/fdcount"
	"github.com/berthd/berth/internal/nettest"
)

// TestABridgeGivesDescriptorsBack: what dnsmasq was started with, and by which it was known, is closed again, when it starts, when it is
// started anew, when it cannot start, and when it ends.
func TestABridgeGivesDescriptorsBack(t *testing.T) {
	nettest.Need(t, "dnsmasq")
	c := config(t, "brfds")
	t.Run("up and down", func(t *testing.T) {
		fdcount.Steady(t, func() {
			up(t, c)
			down(t, c)
		})
	})
	up(t, c)
	defer down(t, c)
	t.Run("restart", func(t *testing.T) {
		fdcount.Steady(t, func() {
			if err := DropLeases(t.Context(), c.Dir, always(c), net.HardwareAddr{0, 0x16, 0x3e, 0, 0, 1}, true); err != nil {
				t.Fatal(err)
			}
		})
	})
	t.Run("a start that fails", func(t *testing.T) {
		bad := c
		bad.RawDnsmasq = "no-such-option\n"
		fdcount.Steady(t, func() {
			if err := Up(t.Context(), bad); err == nil {
				t.Fatal("it started")
			}
		})
	})
}

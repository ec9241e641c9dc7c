package certificate

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berthd/berth/api"
)

// guess is one wrong guess, and how long it had to wait.
func guess(t *testing.T, l *limiter, address string, right bool) time.Duration {
	t.Helper()
	begun := time.Now()
	release, err := l.enter(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	release(right)
	return time.Since(begun)
}

func TestGuessesGetSlower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		if wait := guess(t, l, "h:1", false); wait != 0 {
			t.Errorf("the first waits %s", wait)
		}
		before := time.Duration(0)
		for range 3 {
			wait := guess(t, l, "h:2", false)
			if wait <= before {
				t.Errorf("%s after %s", wait, before)
			}
			before = wait
		}
		if wait := guess(t, l, "other:1", false); wait != 0 {
			t.Errorf("another address waits %s", wait)
		}
		for range 10 {
			before = guess(t, l, "h:2", false)
		}
		if before != longestWait {
			t.Errorf("after many it is %s", before)
		}
		guess(t, l, "h:1", true)
		if wait := guess(t, l, "h:1", false); wait != 0 {
			t.Errorf("still %s after the right password", wait)
		}
		time.Sleep(forgetAfter + time.Second)
		if wait := guess(t, l, "h:1", false); wait != 0 {
			t.Errorf("%s after a long time", wait)
		}
	})
}

// TestGuessesAtOnceWaitForEachOther: else whoever sends many at a time would not be slowed down.
func TestGuessesAtOnceWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		begun := time.Now()
		done := make(chan struct{})
		for range maxHostWaiting {
			go func() {
				guess(t, l, "h:1", false)
				done <- struct{}{}
			}()
		}
		for range maxHostWaiting {
			<-done
		}
		if took, want := time.Since(begun), firstDelay*(2+4+8); took != want {
			t.Errorf("%d at once took %s, want %s", maxHostWaiting, took, want)
		}
	})
}

func TestOneAddressDoesNotKeepOthersOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		ctx, cancel := context.WithCancel(t.Context())
		guess(t, l, "h:1", false)
		for range maxHostWaiting {
			go func() { _, _ = l.enter(ctx, "h:1") }()
		}
		synctest.Wait()
		if _, err := l.enter(ctx, "h:1"); api.StatusOf(err) != 429 {
			t.Errorf("one more gets %v", err)
		}
		if wait := guess(t, l, "other:1", true); wait != 0 {
			t.Errorf("another address waits %s", wait)
		}
		cancel()
		synctest.Wait()
		if l.waiting != 0 || l.hosts["h"].waiting != 0 {
			t.Errorf("%d wait", l.waiting)
		}
		if _, err := l.enter(t.Context(), "h:1"); err != nil { // the turn was given back
			t.Error(err)
		}
	})
}

func TestFewAddressesAreRemembered(t *testing.T) {
	l := newLimiter()
	for n := range 2 * maxHosts {
		g, err := l.begin(time.Duration(n).String())
		if err != nil {
			t.Fatal(err)
		}
		l.note(g, false)
		l.leave(g)
	}
	if len(l.hosts) > maxHosts {
		t.Errorf("%d", len(l.hosts))
	}
}

// A host has as many addresses of IPv6 as it likes: its guesses count together.
func TestNetworkOfAGuess(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "2001:db8:1:2::1": "2001:db8:1:2::/64", "2001:db8:1:2:ffff::9": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64",
		"::ffff:192.0.2.7": "::ffff:192.0.2.7", "@": "@", "": "",
	} {
		if got := network(host); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
	}
}

package daemon

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

func newListener(t *testing.T) *addressListener {
	t.Helper()
	n := &addressListener{key: "core.https_address", what: "network HTTPS socket", serve: func(l net.Listener) error {
		for {
			c, err := l.Accept()
			if err != nil {
				return nil
			}
			c.Close()
		}
	}}
	t.Cleanup(n.close)
	return n
}

func answers(address string) bool {
	c, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func TestTheAddressChangesOnlyWhenTheNewOneIsBound(t *testing.T) {
	ctx := context.Background()
	n := newListener(t)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	first := free.Addr().String()
	if _, _, err := n.prepare(ctx, first); err == nil {
		t.Fatal("bound to an address in use")
	}
	free.Close()
	commit, _, err := n.prepare(ctx, first)
	if err != nil {
		t.Fatal(err)
	}
	commit()
	if !answers(first) || n.addresses()[0] != first {
		t.Errorf("nobody answers on %s, %v", first, n.addresses())
	}

	_, port, _ := net.SplitHostPort(first)
	wide := ":" + port
	_, abort, err := n.prepare(ctx, wide) // overlaps: the old one has to go first
	if err != nil {
		t.Fatal(err)
	}
	abort()
	if !answers(first) || n.addresses()[0] != first {
		t.Error("an aborted change took the address away")
	}
	if _, _, err := n.prepare(ctx, "192.0.2.7:"+port); err == nil || !answers(first) {
		t.Errorf("a change that failed took the address away (%v)", err)
	}
	if commit, _, err = n.prepare(ctx, wide); err != nil {
		t.Fatal(err)
	}
	commit()
	if !answers(first) {
		t.Error("the wide address does not answer")
	}
	if commit, _, err = n.prepare(ctx, ""); err != nil {
		t.Fatal(err)
	}
	commit()
	if answers(first) || len(n.addresses()) != 0 {
		t.Error("still listening")
	}
}

func TestCanonicalAddress(t *testing.T) {
	for in, want := range map[string]string{
		":8443": ":8443", "[::]": "[::]:8443", "::": "[::]:8443", "10.0.0.1": "10.0.0.1:8443", "10.0.0.1:1": "10.0.0.1:1",
		"[::]:443": "[::]:443", "*:443": ":443", "host": "host:8443", "host:": "host:8443",
	} {
		if got := canonicalAddress(in, defaultPort); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// TestAnAddressThatComesUpLaterIsListenedOn tries an address that is in use at first, and one that is changed meanwhile.
func TestAnAddressThatComesUpLaterIsListenedOn(t *testing.T) {
	n := newListener(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := taken.Addr().String()
	if err := n.start(t.Context(), address); err == nil {
		t.Fatal("listening on an address in use")
	}
	asked := make(chan struct{})
	var once sync.Once
	wanted := func() string { once.Do(func() { close(asked) }); return address }
	done := make(chan bool)
	go func() { done <- n.keepTrying(t.Context(), wanted, time.Millisecond) }()
	<-asked
	taken.Close()
	if !<-done || !answers(address) || n.addresses()[0] != address {
		t.Errorf("nobody answers on %s: %v", address, n.addresses())
	}
	if n.keepTrying(t.Context(), wanted, time.Millisecond) {
		t.Error("what is listened on is tried again")
	}

	n.replace(nil, "")
	values := []string{address, ""} // the key is unset just when the address is there
	if n.keepTrying(t.Context(), func() string { v := values[0]; values = append(values[1:], ""); return v }, time.Millisecond) || answers(address) {
		t.Error("an address that is not wanted any more is listened on")
	}
	n.close()
	if n.keepTrying(t.Context(), wanted, time.Millisecond) || answers(address) {
		t.Error("it listens after its end")
	}
}

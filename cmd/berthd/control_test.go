package main

import (
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAShutdownEndsThoughTheDaemonDoesNot: the kernel keeps a process of which a thread waits for a disk, and one that is stopped answers
// nobody. Whoever gave a time-out, such as the script that ends the host, waited for ever.
func TestAShutdownEndsThoughTheDaemonDoesNot(t *testing.T) {
	before := endTime
	endTime = 100 * time.Millisecond
	defer func() { endTime = before }()
	for name, serve := range map[string]func(net.Listener){
		"kept by the kernel": func(l net.Listener) {
			_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"type":"sync"}`)) }))
		},
		"stopped": func(net.Listener) {},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			t.Setenv("BERTH_DIR", root)
			l, err := net.Listen("unix", filepath.Join(root, "unix.socket")) // this process is the daemon, and goes on
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go serve(l)
			ended := make(chan error, 1)
			go func() { ended <- shutdown(t.Context(), url.Values{}, time.Millisecond) }()
			select {
			case err := <-ended:
				if err == nil || !strings.Contains(err.Error(), "has not ended") {
					t.Errorf("got %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it waits for the daemon")
			}
		})
	}
}

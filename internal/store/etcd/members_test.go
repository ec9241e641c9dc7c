package etcd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/internal/store"
)

// cluster is some members in this process, which reach each other through proxies on the loopback interface.
type cluster struct {
	configs []Config
	members []*Member
	network *network
}

// startCluster starts n members. Each keeps its data in dir(i).
func startCluster(t testing.TB, n int, dir func(i int) string) *cluster {
	t.Helper()
	c := &cluster{network: newNetwork(), members: make([]*Member, n)}
	founders := map[string]string{}
	for i := range n {
		name := fmt.Sprintf("m%d", i)
		listen := freeAddress(t)
		advertise := c.network.proxy(t, i, listen)
		founders[name] = "http://" + advertise
		c.configs = append(c.configs, Config{
			Name: name, Dir: dir(i), Listen: "http://" + listen, Advertise: "http://" + advertise,
			Founders: founders, Log: slog.New(slog.DiscardHandler),
		})
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { c.start(t, i) })
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Cleanup(func() {
		c.network.heal()
		var all sync.WaitGroup
		for i := range c.members {
			all.Go(func() { c.kill(i) }) // all at once: there is nobody to hand the lead to
		}
		all.Wait()
	})
	for i, m := range c.members {
		c.network.name(i, m.etcd.Server.MemberID().String())
	}
	return c
}

// start starts a member, for the first time or once more.
func (c *cluster) start(t testing.TB, i int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, err := Start(ctx, c.configs[i])
	if err != nil {
		t.Errorf("member %d: %v", i, err)
		return
	}
	c.members[i] = m
}

// leader is the member that leads, as most of the others see it.
func (c *cluster) leader(t *testing.T) int {
	t.Helper()
	leads := -1
	eventually(t, "there is no leader", func() bool {
		votes := map[string]int{}
		for _, m := range c.members {
			votes[m.etcd.Server.Leader().String()]++
		}
		for i, m := range c.members {
			if votes[m.etcd.Server.MemberID().String()] > len(c.members)/2 {
				leads = i
				return true
			}
		}
		return false
	})
	return leads
}

// kill ends a member without a word to the others.
func (c *cluster) kill(i int) {
	m := c.members[i]
	m.end(fmt.Errorf("%w: killed", store.ErrUnavailable))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.etcd.Server.HardStop()
		m.etcd.Close()
	}()
	select {
	case <-ended:
	case <-time.After(closeTime): // one that has failed need not end before its process
	}
}

// engines makes an engine on each member.
func (c *cluster) engines(t *testing.T, opts Options) (engines []store.Engine) {
	for _, m := range c.members {
		e := m.Engine(opts)
		t.Cleanup(func() { _ = e.Close() })
		engines = append(engines, e)
	}
	return engines
}

const patience = 30 * time.Second

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// network is what lies between members: each is reached through a proxy, which knows from what it is asked who asks.
type network struct {
	mu    sync.Mutex
	ids   map[string]int // by what members call themselves
	cut   map[int]bool
	delay map[int]time.Duration // of all that a member sends or gets
	conns map[net.Conn]pair
}

// pair is who calls whom; of the caller only what it calls itself is known.
type pair struct {
	from string
	to   int
}

func newNetwork() *network {
	return &network{ids: map[string]int{}, cut: map[int]bool{}, delay: map[int]time.Duration{}, conns: map[net.Conn]pair{}}
}

func (n *network) name(i int, id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ids[id] = i
}

// part cuts members off from all others.
func (n *network) part(members ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range members {
		n.cut[i] = true
	}
	for c, p := range n.conns {
		if n.parted(p) {
			_ = c.Close()
		}
	}
}

func (n *network) parted(p pair) bool {
	from, known := n.ids[p.from]
	return n.cut[p.to] || known && n.cut[from]
}

// slow delays all that a member sends or gets.
func (n *network) slow(i int, by time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay[i] = by
}

func (n *network) heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	clear(n.delay)
}

// proxy listens for a member.
func (n *network) proxy(t testing.TB, to int, address string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.carry(c, to, address)
		}
	}()
	return l.Addr().String()
}

// carry connects a caller with the member it calls.
func (n *network) carry(caller net.Conn, to int, address string) {
	defer caller.Close()
	head := make([]byte, 16<<10)
	size, err := caller.Read(head)
	if err != nil {
		return
	}
	called, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer called.Close()
	p := pair{callerOf(string(head[:size])), to}
	n.mu.Lock()
	parted := n.parted(p)
	n.conns[caller], n.conns[called] = p, p
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.conns, caller)
		delete(n.conns, called)
		n.mu.Unlock()
	}()
	if parted {
		return
	}
	n.wait(p)
	if _, err := called.Write(head[:size]); err != nil {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { n.copy(called, caller, p) })
	both.Go(func() { n.copy(caller, called, p) })
	both.Wait()
}

// callerOf reads from the first request on a connection what the member calls itself that makes it.
func callerOf(head string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if id, ok := strings.CutPrefix(line, "X-Server-From: "); ok {
			return id
		}
	}
	return ""
}

func (n *network) wait(p pair) {
	n.mu.Lock()
	by := n.delay[p.to]
	if from, known := n.ids[p.from]; known {
		by = max(by, n.delay[from])
	}
	n.mu.Unlock()
	if by > 0 {
		time.Sleep(by) // lint:allow no-wait-by-sleep: it is the delay of the network that is played here
	}
}

func (n *network) copy(to, from net.Conn, p pair) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 32<<10)
	for {
		size, err := from.Read(buffer)
		if err != nil {
			return
		}
		n.wait(p)
		if _, err := to.Write(buffer[:size]); err != nil && !errors.Is(err, io.EOF) {
			return
		}
	}
}

// inFolder keeps the data of members in folders that go with the test.
func inFolder(t *testing.T) func(int) string {
	dir := t.TempDir()
	return func(i int) string { return filepath.Join(dir, fmt.Sprint(i)) }
}

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
	"github.com/berthd/berth/test/harness"
)

// clients are two users of one daemon, each with a connection of their own.
type clients struct {
	*harness.Daemon
	one, two *client.Client
}

func twoClients(t *testing.T) *clients {
	d := harness.New(t).Pool().Image()
	c := &clients{Daemon: d}
	for _, to := range []**client.Client{&c.one, &c.two} {
		connected, err := client.ConnectUnix(d.Dir + "/unix.socket")
		if err != nil {
			t.Fatal(err)
		}
		*to = connected
	}
	return c
}

// done waits for what a call has begun.
func done(op *client.Operation, err error) error {
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), harness.Slow(harness.Limit))
	defer cancel()
	return op.Wait(ctx)
}

// together makes calls at the same instant and returns what came of each.
func together(calls ...func() error) []error {
	errs := make([]error, len(calls))
	ready := make(chan struct{})
	var all sync.WaitGroup
	for n, call := range calls {
		all.Go(func() {
			<-ready
			errs[n] = call()
		})
	}
	close(ready)
	all.Wait()
	return errs
}

func (c *clients) must(err error) {
	c.T.Helper()
	if err != nil {
		c.T.Fatalf("%v\n%s", err, c.Log())
	}
}

func (c *clients) remove(names ...string) {
	c.T.Helper()
	for _, name := range names {
		if err := done(c.one.DeleteInstance(name)); err != nil && api.StatusOf(err) != http.StatusNotFound {
			c.T.Fatal(err)
		}
	}
}

// create makes an instance of the small image.
func create(by *client.Client, name string, change func(*api.InstancesPost)) error {
	post := api.InstancesPost{Name: name, Source: api.InstanceSource{Type: "image", Alias: "bb"}}
	if change != nil {
		change(&post)
	}
	return done(by.CreateInstance(post))
}

func TestTwoClientsIsolatedInstancesShareNoIDs(t *testing.T) {
	c := twoClients(t)
	for range 2 {
		var names []string
		var calls []func() error
		for n := range 8 {
			name, by := fmt.Sprint("iso", n), []*client.Client{c.one, c.two}[n%2]
			names = append(names, name)
			calls = append(calls, func() error {
				return create(by, name, func(p *api.InstancesPost) { p.Config = map[string]string{"security.idmap.isolated": "true"} })
			})
		}
		c.must(errors.Join(together(calls...)...))
		owner := map[int]string{}
		for _, name := range names {
			i, _, err := c.one.Instance(name)
			c.must(err)
			base, err := strconv.Atoi(i.Config["volatile.idmap.base"])
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			const size = 65536 // of an isolated map, as LXD's documentation of security.idmap.size has it
			for other, of := range owner {
				if base < other+size && other < base+size {
					t.Errorf("%s and %s share IDs: their maps begin at %d and %d", name, of, base, other)
				}
			}
			owner[base] = name
		}
		c.remove(names...)
	}
}

func TestTwoClientsWithOneETagHaveOneWinner(t *testing.T) {
	c := twoClients(t)
	c.must(create(c.one, "c1", nil))
	c.must(c.one.CreateProfile(api.ProfilesPost{Name: "p"}))
	instance := func(by *client.Client, value string) func() error {
		i, etag, err := by.Instance("c1")
		c.must(err)
		i.Config["user.x"] = value
		return func() error { return done(by.UpdateInstance("c1", i.InstancePut, etag)) }
	}
	profile := func(by *client.Client, value string) func() error {
		p, etag, err := by.Profile("p")
		c.must(err)
		p.Config["user.x"] = value
		return func() error { return by.UpdateProfile("p", p.ProfilePut, etag) }
	}
	metadata := func(by *client.Client, value string) func() error {
		m, etag, err := by.InstanceMetadata("c1")
		c.must(err)
		m.Properties = map[string]string{"user.x": value}
		return func() error { return by.UpdateInstanceMetadata("c1", *m, etag) }
	}
	read := map[string]func() (string, error){
		"instance": func() (string, error) { i, _, err := c.one.Instance("c1"); return i.Config["user.x"], err },
		"profile":  func() (string, error) { p, _, err := c.one.Profile("p"); return p.Config["user.x"], err },
		"metadata": func() (string, error) { m, _, err := c.one.InstanceMetadata("c1"); return m.Properties["user.x"], err },
	}
	for kind, put := range map[string]func(*client.Client, string) func() error{"instance": instance, "profile": profile, "metadata": metadata} {
		for round := range 20 {
			values := []string{fmt.Sprint(round, " one"), fmt.Sprint(round, " two")}
			errs := together(put(c.one, values[0]), put(c.two, values[1]))
			won, lost := 0, 1
			if errs[won] != nil {
				won, lost = lost, won
			}
			if errs[won] != nil || errs[lost] == nil {
				t.Fatalf("%s: got %v and %v, want one winner", kind, errs[0], errs[1])
			}
			// An instance's change may have begun when the other one is done: its operation fails with the same words.
			if api.StatusOf(errs[lost]) != http.StatusPreconditionFailed && (kind != "instance" || !strings.Contains(errs[lost].Error(), "ETag doesn't match")) {
				t.Fatalf("%s: the loser is told %d %v", kind, api.StatusOf(errs[lost]), errs[lost])
			}
			got, err := read[kind]()
			c.must(err)
			if got != values[won] {
				t.Fatalf("%s: has %q, and %q won", kind, got, values[won])
			}
		}
	}
}

// TestTwoClientsADeleteTakesNoUsers has something deleted while somebody begins to use it: what is used is there.
func TestTwoClientsADeleteTakesNoUsers(t *testing.T) {
	c := twoClients(t)
	within := func(device string, cfg map[string]string) func(*api.InstancesPost) {
		return func(p *api.InstancesPost) { p.Devices = map[string]map[string]string{device: cfg} }
	}
	volume := api.StorageVolumesPost{Name: "v", Type: "custom"}
	for name, test := range map[string]struct {
		make, remove, use, unuse func() error
		used                     func() error
	}{
		"profile": {
			make:   func() error { return c.one.CreateProfile(api.ProfilesPost{Name: "p"}) },
			remove: func() error { return c.one.DeleteProfile("p") },
			use: func() error {
				return create(c.two, "u", func(p *api.InstancesPost) { p.Profiles = []string{"default", "p"} })
			},
			unuse: func() error { return done(c.two.DeleteInstance("u")) },
			used:  func() error { _, _, err := c.one.Profile("p"); return err },
		},
		"pool of an instance": {
			make:   func() error { return c.one.CreateStoragePool(api.StoragePoolsPost{Name: "p", Driver: "dir"}) },
			remove: func() error { return c.one.DeleteStoragePool("p") },
			use: func() error {
				return create(c.two, "u", within("root", map[string]string{"type": "disk", "path": "/", "pool": "p"}))
			},
			unuse: func() error { return done(c.two.DeleteInstance("u")) },
			used:  func() error { _, _, err := c.one.StoragePool("p"); return err },
		},
		"pool of a volume": {
			make:   func() error { return c.one.CreateStoragePool(api.StoragePoolsPost{Name: "p", Driver: "dir"}) },
			remove: func() error { return c.one.DeleteStoragePool("p") },
			use:    func() error { return c.two.CreateStorageVolume("p", volume) },
			unuse:  func() error { return c.two.DeleteStorageVolume("p", "custom", "v") },
			used:   func() error { _, _, err := c.one.StoragePool("p"); return err },
		},
		"volume": {
			make:   func() error { return c.one.CreateStorageVolume("default", volume) },
			remove: func() error { return c.one.DeleteStorageVolume("default", "custom", "v") },
			use: func() error {
				return create(c.two, "u", within("d", map[string]string{"type": "disk", "path": "/d", "pool": "default", "source": "v"}))
			},
			unuse: func() error { return done(c.two.DeleteInstance("u")) },
			used:  func() error { _, _, err := c.one.StorageVolume("default", "custom", "v"); return err },
		},
		"network": {
			make: func() error {
				n := api.NetworksPost{Name: "tcbr0"}
				n.Config = map[string]string{"ipv4.address": "none", "ipv6.address": "none"}
				return c.one.CreateNetwork(n)
			},
			remove: func() error { return c.one.DeleteNetwork("tcbr0") },
			use: func() error {
				return create(c.two, "u", within("eth0", map[string]string{"type": "nic", "network": "tcbr0"}))
			},
			unuse: func() error { return done(c.two.DeleteInstance("u")) },
			used:  func() error { _, _, err := c.one.Network("tcbr0"); return err },
		},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range 12 {
				c.must(test.make())
				errs := together(func() error {
					time.Sleep(time.Duration(round*round) * 200 * time.Microsecond) // another instant of the creation each time
					return test.remove()
				}, test.use)
				removed, used := errs[0] == nil, errs[1] == nil
				if removed == used {
					t.Errorf("the delete ends with %v, the creation of a user with %v", errs[0], errs[1])
				}
				if err := test.used(); used && err != nil {
					t.Errorf("what is used is gone: %v", err)
				}
				if used {
					c.must(test.unuse())
				}
				if !removed {
					c.must(test.remove())
				}
				if t.Failed() {
					return
				}
			}
		})
	}
}

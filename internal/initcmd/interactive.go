package initcmd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/berthd/berth/api"
	"github.com/berthd/berth/client"
)

// Questions asks on Out and reads answers with Line. Scripts feed answers in this order: it is LXD's.
type Questions struct {
	Out  io.Writer
	Err  io.Writer
	Line func() (string, error) // next line, without its break
	// Secret reads a line without showing it; nil means Line.
	Secret func() (string, error)
	// Person tells that somebody answers, who need not be asked for what this server cannot do. Scripts have their answers in LXD's order.
	Person bool
}

// text asks until valid takes the answer. An empty answer is the default.
func (q *Questions) text(question, def string, valid func(string) error) (string, error) {
	for {
		fmt.Fprint(q.Out, question)
		answer, err := q.Line()
		if err != nil {
			return "", err
		}
		if answer = strings.TrimSpace(answer); answer == "" {
			answer = def
		}
		if valid != nil {
			if err := valid(answer); err != nil {
				fmt.Fprintf(q.Err, "Invalid input: %v\n\n", err)
				continue
			}
		}
		return answer, nil
	}
}

// yes asks a question with the answers yes and no.
func (q *Questions) yes(question string, def bool) (bool, error) {
	word := map[bool]string{true: "yes", false: "no"}[def]
	answer, err := q.text(fmt.Sprintf("%s (yes/no) [default=%s]: ", question, word), word, func(s string) error {
		if !slices.Contains([]string{"yes", "no", "y", "n"}, strings.ToLower(s)) {
			return errors.New("try again")
		}
		return nil
	})
	return err == nil && strings.HasPrefix(strings.ToLower(answer), "y"), err
}

// freeName asks for a name that nothing of the kind has: the one that is offered is free, too.
func (q *Questions) freeName(noun, kind, def string, taken func(string) bool) (string, error) {
	def = unused(def, taken)
	return q.text(fmt.Sprintf("What should the %s be called? [default=%s]: ", noun, def), def, func(name string) error {
		if taken(name) {
			return fmt.Errorf("the requested %s \"%s\" already exists", kind, name)
		}
		return nil
	})
}

// interactive makes a preseed from answers.
func interactive(c *client.Client, q *Questions) (*Preseed, error) {
	server, _, err := c.Server()
	if err != nil {
		return nil, err
	}
	p := &Preseed{Config: map[string]any{}, Networks: []Network{}, StoragePools: []api.StoragePoolsPost{}}
	profile := api.ProfilesPost{Name: api.ProjectDefault}
	profile.Config, profile.Devices = map[string]string{}, map[string]map[string]string{}
	steps := []func() error{
		func() error {
			return q.unable("Let this server belong to a cluster?", "this server can't be clustered")
		},
		func() error { return q.storage(c, server, p, &profile) },
		func() error {
			return q.unable("Take addresses from a MAAS server?", "this server can't connect to MAAS")
		},
		func() error { return q.network(c, p, &profile) },
		func() error { return q.daemon(p) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.Profiles = []api.ProfilesPost{profile}
	show, err := q.yes(`Print the answers as YAML, for "berth init --preseed" on other servers?`, false)
	if err != nil {
		return nil, err
	}
	if show {
		data, err := p.YAML()
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(q.Out, "%s\n", data)
	}
	return p, nil
}

// unable asks a question that scripts have an answer for, which must be no: a person is not asked.
func (q *Questions) unable(question, why string) error {
	if q.Person {
		return nil
	}
	use, err := q.yes(question, false)
	if err == nil && use {
		err = errors.New(why)
	}
	return err
}

func (q *Questions) storage(c *client.Client, server *api.Server, p *Preseed, profile *api.ProfilesPost) error {
	want, err := q.yes("Set up a storage pool?", true)
	if err != nil || !want {
		return err
	}
	pool := api.StoragePoolsPost{}
	pool.Config = map[string]string{}
	taken := func(name string) bool {
		_, _, err := c.StoragePool(name)
		return err == nil
	}
	pool.Name, err = q.freeName("pool", "storage pool", "default", taken)
	if err != nil {
		return err
	}
	available := drivers(server)
	def := available[0]
	pool.Driver, err = q.text(fmt.Sprintf("Which driver should it have (%s)? [default=%s]: ", strings.Join(available, ", "), def), def, func(name string) error {
		if !slices.Contains(available, name) {
			return fmt.Errorf("%q isn't one of %s", name, strings.Join(available, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if pool.Driver != "dir" {
		if err := q.poolSource(&pool); err != nil {
			return err
		}
	}
	p.StoragePools = append(p.StoragePools, pool)
	profile.Devices["root"] = map[string]string{"type": "disk", "path": "/", "pool": pool.Name}
	return nil
}

func (q *Questions) poolSource(pool *api.StoragePoolsPost) error {
	fresh, err := q.yes(fmt.Sprintf("Make the %s pool, rather than use one that is there?", strings.ToUpper(pool.Driver)), true)
	if err != nil {
		return err
	}
	if !fresh {
		pool.Config["source"], err = q.text("Which pool or dataset should be used? ", "", nil)
		return err
	}
	device, err := q.yes("Put it on an empty disk or partition?", false)
	if err != nil {
		return err
	}
	if device {
		pool.Config["source"], err = q.text("Which one (its path below /dev)? ", "", nil)
		return err
	}
	size, err := q.text("How large should the file be that keeps it, in GiB (1 or more)? [default=30GiB]: ", "30GiB", func(s string) error {
		if n, err := strconv.Atoi(strings.TrimSuffix(s, "GiB")); err != nil || n < 1 {
			return errors.New("a number of GiB is needed")
		}
		return nil
	})
	pool.Config["size"] = strings.TrimSuffix(size, "GiB") + "GiB"
	return err
}

func (q *Questions) network(c *client.Client, p *Preseed, profile *api.ProfilesPost) error {
	bridge, err := q.yes("Set up a network for instances?", true)
	if err != nil {
		return err
	}
	if !bridge {
		return q.existingInterface(c, profile)
	}
	n := Network{Project: api.ProjectDefault}
	n.Type, n.Config = "bridge", map[string]string{}
	taken := func(name string) bool {
		_, _, err := c.Network(name)
		return err == nil
	}
	n.Name, err = q.freeName("network", "network bridge", BridgeName, taken)
	if err != nil {
		return err
	}
	for _, family := range []string{"4", "6"} {
		address, err := q.text(fmt.Sprintf("Which IPv%s address should it have: one with its prefix length, auto or none? [default=auto]: ", family), "auto", validAddress)
		if err != nil {
			return err
		}
		n.Config["ipv"+family+".address"] = address
		if address == "auto" || address == "none" {
			continue
		}
		nat, err := q.yes(fmt.Sprintf("Let instances reach other IPv%s networks under the host's address (NAT)?", family), true)
		if err != nil {
			return err
		}
		n.Config["ipv"+family+".nat"] = strconv.FormatBool(nat)
	}
	p.Networks = append(p.Networks, n)
	profile.Devices["eth0"] = map[string]string{"type": "nic", "name": "eth0", "network": n.Name}
	return nil
}

func validAddress(s string) error {
	if s == "auto" || s == "none" {
		return nil
	}
	_, _, err := net.ParseCIDR(s)
	return err
}

func (q *Questions) existingInterface(c *client.Client, profile *api.ProfilesPost) error {
	use, err := q.yes("Connect instances to a bridge or interface of the host?", false)
	if err != nil || !use {
		return err
	}
	var network *api.Network
	name, err := q.text("Which one? ", "", func(name string) error {
		n, _, err := c.Network(name)
		network = n
		return err
	})
	if err != nil {
		return err
	}
	device := map[string]string{"type": "nic", "name": "eth0"}
	switch {
	case network.Managed:
		device["network"] = name
	case network.Type == "bridge":
		device["nictype"], device["parent"] = "bridged", name
	default:
		device["nictype"], device["parent"] = "macvlan", name
	}
	profile.Devices["eth0"] = device
	return nil
}

func (q *Questions) daemon(p *Preseed) error {
	remote, err := q.yes("Let clients use this server over the network?", false)
	if err != nil {
		return err
	}
	if remote {
		if err := q.listen(p); err != nil {
			return err
		}
	}
	update, err := q.yes("Keep images that came from other servers up to date?", true)
	if err == nil && !update {
		p.Config["images.auto_update_interval"] = "0"
	}
	return err
}

func (q *Questions) listen(p *Preseed) error {
	address, err := q.text("On which address, without a port? [default=all]: ", "all", func(s string) error {
		if s != "all" && net.ParseIP(strings.Trim(s, "[]")) == nil {
			return fmt.Errorf("%q is not an IP address", s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if address == "all" {
		address = "::"
	}
	port, err := q.text(fmt.Sprintf("On which port? [default=%d]: ", DefaultPort), strconv.Itoa(DefaultPort), func(s string) error {
		if n, err := strconv.Atoi(s); err != nil || n < 1 || n > 65535 {
			return fmt.Errorf("%q is not a port", s)
		}
		return nil
	})
	if err != nil {
		return err
	}
	p.Config["core.https_address"] = net.JoinHostPort(strings.Trim(address, "[]"), port)
	password, err := q.password("Password by which new clients are trusted: ")
	if err == nil && password != "" {
		p.Config["core.trust_password"] = password
	}
	return err
}

// password asks twice.
func (q *Questions) password(question string) (string, error) {
	read := q.Secret
	if read == nil {
		read = q.Line
	}
	for {
		fmt.Fprint(q.Out, question)
		first, err := read()
		if err != nil {
			return "", err
		}
		fmt.Fprint(q.Out, "\nAgain: ")
		second, err := read()
		if err != nil {
			return "", err
		}
		fmt.Fprintln(q.Out)
		if first == second {
			return first, nil
		}
		fmt.Fprint(q.Err, "Invalid input, try again.\n\n")
	}
}

package bridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// tableName is the table of all of Berth's rules; each network has its own base chains in it.
const tableName = "berth"

// firewalls keeps changes of this daemon's rules apart.
var firewalls keyed

// firewallWait bounds each wait for the kernel's answer.
const firewallWait = 30 * time.Second

// chain names one chain of a network; the prefixes are those that LXD's users know.
type chain struct {
	prefix   string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    [][]expr.Any
}

// setFirewall replaces the rules of a network in one transaction.
func setFirewall(ctx context.Context, c Config) error {
	err := firewallTransaction(ctx, c.Name, c.ID, chainsOf(c, true))
	if errors.Is(err, syscall.ENOENT) && (c.Firewall4 || c.Firewall6) {
		slog.Warn("The kernel has no nft_fib: forged source addresses are not held back at the bridge", "bridge", c.Name, "err", err)
		err = firewallTransaction(ctx, c.Name, c.ID, chainsOf(c, false))
	}
	return err
}

// removeFirewall takes the rules that were made for a network away, and the table with the last of them.
func removeFirewall(ctx context.Context, name, id string) error {
	return firewallTransaction(ctx, name, id, nil)
}

// firewallTransaction puts chains in the place of those that the network has.
func firewallTransaction(ctx context.Context, name, id string, chains []chain) error {
	unlock, err := firewalls.lock(ctx, "the firewall")
	if err != nil {
		return err
	}
	defer unlock()
	if err := replaceChains(name, id, chains); err != nil {
		return fmt.Errorf("firewall of %s: %w", name, err)
	}
	return nil
}

func replaceChains(name, id string, chains []chain) error {
	r, err := dialRules()
	if err != nil {
		return err
	}
	defer r.close()
	return r.replace(name, id, chains)
}

func (r *rules) replace(name, id string, chains []chain) error {
	have, err := r.listChains()
	if err != nil {
		if errors.Is(err, syscall.EAFNOSUPPORT) && len(chains) == 0 {
			return nil
		}
		return err
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	for _, ch := range have {
		if ch.Table.Name != tableName {
			continue
		}
		mine := slices.Contains([]string{"pstrt." + name, "fwd." + name, "in." + name, "out." + name}, ch.Name)
		// Whoever adds rules owns the interface. A removal may come late, when another network has the interface's name.
		if mine && len(chains) == 0 {
			if mine, err = r.madeFor(ch, id); err != nil {
				return err
			}
		}
		if mine {
			r.FlushChain(ch)
			r.DelChain(ch)
		}
	}
	if len(chains) > 0 {
		r.AddTable(table)
	}
	for _, ch := range chains {
		ch.add(r.Conn, table, name, id)
	}
	if err := r.limitWait(); err != nil {
		return err
	}
	if err := r.Flush(); err != nil || len(chains) > 0 {
		return err
	}
	return r.removeTable(tableName)
}

// madeFor tells whether a chain was made for the network with an identity. One whose rules bear none is older than identities.
func (r *rules) madeFor(ch *nftables.Chain, id string) (bool, error) {
	if err := r.limitWait(); err != nil {
		return false, err
	}
	list, err := r.GetRules(ch.Table, ch)
	if err != nil || len(list) == 0 {
		return err == nil, err
	}
	comment, ok := userdata.GetString(list[0].UserData, userdata.TypeComment)
	return !ok || comment == alias(id), nil
}

func (ch chain) add(conn *nftables.Conn, table *nftables.Table, name, id string) {
	accept := nftables.ChainPolicyAccept
	made := conn.AddChain(&nftables.Chain{
		Name: ch.prefix + "." + name, Table: table, Type: ch.kind,
		Hooknum: ch.hook, Priority: ch.priority, Policy: &accept,
	})
	for _, rule := range ch.rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: made, Exprs: rule,
			UserData: userdata.AppendString(nil, userdata.TypeComment, alias(id))})
	}
}

// chainsOf is the network's firewall. It names the network's interface in every rule, so that it decides for no other, and
// an accept in one network's chain is none in another's: the kernel asks each.
func chainsOf(c Config, fib bool) []chain {
	nat, natLate := natRules(c)
	forward, in, out := filterRules(c, fib)
	late := *nftables.ChainPriorityNATSource + 10
	var chains []chain
	for _, ch := range []chain{
		{"pstrt", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, nat},
		{"pstrt", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, &late, natLate},
		{"fwd", nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, forward},
		{"in", nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, in},
		{"out", nftables.ChainTypeFilter, nftables.ChainHookOutput, nftables.ChainPriorityFilter, out},
	} {
		if len(ch.rules) > 0 {
			chains = append(chains, ch)
		}
	}
	// A network has one NAT chain: with an order asked for in one family only, both go by it.
	if len(nat) > 0 && len(natLate) > 0 {
		chains[1].rules = append(chains[0].rules, chains[1].rules...)
		chains = chains[1:]
	}
	return chains
}

func natRules(c Config) (before, after [][]expr.Any) {
	for _, f := range []*Family{c.IPv4, c.IPv6} {
		switch {
		case f == nil || !f.NAT:
		case f.NATAfter:
			after = append(after, natRule(f))
		default:
			before = append(before, natRule(f))
		}
	}
	return before, after
}

func filterRules(c Config, fib bool) (forward, in, out [][]expr.Any) {
	for _, v := range []struct {
		family *Family
		v6     bool
		on     bool
		dhcp   uint16
	}{{c.IPv4, false, c.Firewall4, 67}, {c.IPv6, true, c.Firewall6, 547}} {
		if !v.on {
			continue
		}
		if fib {
			forward = append(forward, spoofRule(c.Name, v.v6))
		}
		if v.family == nil {
			continue
		}
		forward = append(forward, forwardRules(c.Name, v.family)...)
		if len(in) == 0 {
			in = append(in, service(c.Name, inward, unix.IPPROTO_TCP, 53), service(c.Name, inward, unix.IPPROTO_UDP, 53))
			out = append(out, service(c.Name, outward, unix.IPPROTO_TCP, 53), service(c.Name, outward, unix.IPPROTO_UDP, 53))
		}
		in = append(in, icmpRules(c.Name, inward, v.v6)...)
		in = append(in, service(c.Name, inward, unix.IPPROTO_UDP, v.dhcp))
		out = append(out, icmpRules(c.Name, outward, v.v6)...)
		out = append(out, service(c.Name, outward, unix.IPPROTO_UDP, v.dhcp))
	}
	return forward, in, out
}

// spoofRule drops packets that leave the network with a source address that the host would not route back into it. The subnets
// and routes of the network and of its NICs are all routes over the bridge, so they pass. In a family without addresses
// everything is dropped. Packets from port to port of the bridge are left alone, should the kernel show them here.
func spoofRule(name string, v6 bool) []expr.Any {
	elsewhere := outward.match(name)
	elsewhere[1].(*expr.Cmp).Op = expr.CmpOpNeq
	rule := append(family(v6), inward.match(name)...)
	rule = append(rule, elsewhere...)
	return append(rule, &expr.Fib{Register: 1, ResultOIF: true, FlagSADDR: true, FlagIIF: true, FlagPRESENT: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{0}}, &expr.Verdict{Kind: expr.VerdictDrop})
}

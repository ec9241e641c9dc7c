package bridge

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// tableName is the table of all of Berth's rules; each network has its own base chains in it.
const tableName = "berth"

// firewallMu keeps the removal of an empty table from racing with a new chain in it.
var firewallMu sync.Mutex

// chain names one chain of a network; the prefixes are those that LXD's users know.
type chain struct {
	prefix   string
	kind     nftables.ChainType
	hook     *nftables.ChainHook
	priority *nftables.ChainPriority
	rules    [][]expr.Any
}

// setFirewall replaces the rules of a network in one transaction.
func setFirewall(c Config) error {
	firewallMu.Lock()
	defer firewallMu.Unlock()
	return firewallTransaction(c.Name, chainsOf(c))
}

// removeFirewall takes a network's rules away, and the table with the last of them.
func removeFirewall(name string) error {
	firewallMu.Lock()
	defer firewallMu.Unlock()
	return firewallTransaction(name, nil)
}

func firewallTransaction(name string, chains []chain) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("firewall of %s: %w", name, err)
	}
	have, err := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
	if err != nil {
		if errors.Is(err, syscall.EAFNOSUPPORT) && len(chains) == 0 {
			return nil
		}
		return fmt.Errorf("firewall of %s: %w", name, err)
	}
	mine := map[string]bool{}
	for _, prefix := range []string{"pstrt", "fwd", "in", "out"} {
		mine[prefix+"."+name] = true
	}
	table := &nftables.Table{Name: tableName, Family: nftables.TableFamilyINet}
	others, exists := false, false
	for _, ch := range have {
		if ch.Table.Name != tableName {
			continue
		}
		exists = true
		if !mine[ch.Name] {
			others = true
			continue
		}
		conn.FlushChain(ch)
		conn.DelChain(ch)
	}
	switch {
	case len(chains) > 0:
		conn.AddTable(table)
		for _, ch := range chains {
			ch.add(conn, table, name)
		}
	case !others && exists:
		conn.DelTable(table)
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("firewall of %s: %w", name, err)
	}
	return nil
}

func (ch chain) add(conn *nftables.Conn, table *nftables.Table, name string) {
	accept := nftables.ChainPolicyAccept
	made := conn.AddChain(&nftables.Chain{
		Name: ch.prefix + "." + name, Table: table, Type: ch.kind,
		Hooknum: ch.hook, Priority: ch.priority, Policy: &accept,
	})
	for _, rule := range ch.rules {
		conn.AddRule(&nftables.Rule{Table: table, Chain: made, Exprs: rule})
	}
}

// chainsOf is the network's firewall.
func chainsOf(c Config) []chain {
	var nat, natLate, forward, in, out [][]expr.Any
	for _, f := range []*Family{c.IPv4, c.IPv6} {
		if f == nil {
			continue
		}
		if f.NAT && f.NATAfter {
			natLate = append(natLate, natRule(f))
		} else if f.NAT {
			nat = append(nat, natRule(f))
		}
		if !f.Firewall {
			continue
		}
		v6 := f.Address.Addr().Is6()
		forward = append(forward, forwardRules(c.Name, f)...)
		if len(in) == 0 {
			in = append(in, port(c.Name, inward, unix.IPPROTO_TCP, 53), port(c.Name, inward, unix.IPPROTO_UDP, 53))
			out = append(out, port(c.Name, outward, unix.IPPROTO_TCP, 53), port(c.Name, outward, unix.IPPROTO_UDP, 53))
		}
		dhcp := uint16(67)
		if v6 {
			dhcp = 547
		}
		in = append(in, icmpRules(c.Name, inward, v6)...)
		in = append(in, port(c.Name, inward, unix.IPPROTO_UDP, dhcp))
		out = append(out, icmpRules(c.Name, outward, v6)...)
		out = append(out, port(c.Name, outward, unix.IPPROTO_UDP, dhcp))
	}
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

// natRule gives what leaves the subnet for elsewhere another source address.
func natRule(f *Family) []expr.Any {
	v6 := f.Address.Addr().Is6()
	rule := family(v6)
	rule = append(rule, inSubnet(f, v6, true, expr.CmpOpEq)...)
	rule = append(rule, inSubnet(f, v6, false, expr.CmpOpNeq)...)
	if !f.NATFrom.IsValid() {
		return append(rule, &expr.Masq{})
	}
	proto := uint32(unix.NFPROTO_IPV4)
	if v6 {
		proto = unix.NFPROTO_IPV6
	}
	return append(rule, &expr.Immediate{Register: 1, Data: f.NATFrom.AsSlice()},
		&expr.NAT{Type: expr.NATTypeSourceNAT, Family: proto, RegAddrMin: 1})
}

func inSubnet(f *Family, v6, source bool, op expr.CmpOp) []expr.Any {
	offset, size := uint32(16), uint32(4) // IPv4 destination
	switch {
	case v6 && source:
		offset, size = 8, 16
	case v6:
		offset, size = 24, 16
	case source:
		offset = 12
	}
	net := ipNet(f.Address.Masked())
	return []expr.Any{
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: size},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: size, Mask: net.Mask, Xor: make([]byte, size)},
		&expr.Cmp{Op: op, Register: 1, Data: net.IP},
	}
}

// forwardRules lets routed traffic pass, or refuses it where the network is not routed.
func forwardRules(name string, f *Family) [][]expr.Any {
	v6 := f.Address.Addr().Is6()
	var rules [][]expr.Any
	for _, d := range []direction{outward, inward} {
		rule := append(family(v6), d.match(name)...)
		switch {
		case f.Routing:
			rule = append(rule, &expr.Verdict{Kind: expr.VerdictAccept})
		case v6:
			rule = append(rule, &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 4})
		default:
			rule = append(rule, &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3})
		}
		rules = append(rules, rule)
	}
	return rules
}

// direction is the way of a packet as the host sees it on the bridge.
type direction struct {
	key        expr.MetaKey
	portOffset uint32
}

var (
	inward  = direction{expr.MetaKeyIIFNAME, 2}
	outward = direction{expr.MetaKeyOIFNAME, 0}
)

func (d direction) match(name string) []expr.Any {
	data := make([]byte, unix.IFNAMSIZ)
	copy(data, name)
	return []expr.Any{&expr.Meta{Key: d.key, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}}
}

func family(v6 bool) []expr.Any {
	proto := byte(unix.NFPROTO_IPV4)
	if v6 {
		proto = unix.NFPROTO_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}}}
}

// port accepts what goes to (inward) or comes from (outward) a port of the host.
func port(name string, d direction, proto byte, number uint16) []expr.Any {
	return append(d.match(name),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: d.portOffset, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(number)},
		&expr.Verdict{Kind: expr.VerdictAccept})
}

// icmpRules accepts the messages that IP needs to work, by their numbers in RFC 792 and RFC 4443, 4861, 3810.
func icmpRules(name string, d direction, v6 bool) [][]expr.Any {
	proto, types := byte(unix.IPPROTO_ICMP), []byte{3, 11, 12}
	if v6 {
		proto, types = unix.IPPROTO_ICMPV6, []byte{1, 2, 3, 4, 133, 135, 136, 143}
		if d == outward {
			types = []byte{1, 2, 3, 4, 128, 134, 135, 136, 143}
		}
	}
	var rules [][]expr.Any
	for _, t := range types {
		rules = append(rules, append(append(family(v6), d.match(name)...),
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{proto}},
			&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{t}},
			&expr.Verdict{Kind: expr.VerdictAccept}))
	}
	return rules
}

package bridge

import (
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

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

// service accepts what goes to (inward) or comes from (outward) a port of the host.
func service(name string, d direction, proto byte, number uint16) []expr.Any {
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

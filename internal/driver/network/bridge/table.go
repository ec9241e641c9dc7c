package bridge

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/google/nftables"
	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// maxListings bounds how often the chains are listed anew because somebody changed rules meanwhile.
const maxListings = 1000

// rules is the kernel's rules for packets, by one connection. An error ends its use: what else the kernel says may stand unread.
type rules struct {
	*nftables.Conn
	raw *nl.Conn // the same connection, for what the library cannot ask
}

func dialRules() (*rules, error) {
	r := &rules{}
	var err error
	r.Conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *nl.Conn) error {
		r.raw = c
		return nil
	}))
	return r, err
}

func (r *rules) close() { _ = r.CloseLasting() }

// limitWait bounds the wait for the next answer.
func (r *rules) limitWait() error { return r.raw.SetDeadline(time.Now().Add(firewallWait)) }

// listChains lists the chains of the inet family, of one state of the rules. The kernel's answer to one that others change while it
// is made may lack a chain or name it twice, and the library does not say so. The rules' generation tells, but for the instant in which
// the kernel has counted a change and not yet made it: there, a second list differs from the first.
func (r *rules) listChains() ([]*nftables.Chain, error) {
	for range maxListings {
		before, err := r.generation()
		if err != nil {
			return nil, err
		}
		first, err := r.listOnce()
		if err != nil {
			return nil, err
		}
		second, err := r.listOnce()
		if err != nil {
			return nil, err
		}
		after, err := r.generation()
		if err != nil {
			return nil, err
		}
		if before == after && slices.EqualFunc(first, second, sameChain) {
			return second, nil
		}
	}
	return nil, fmt.Errorf("the rules have changed while they were listed, %d times in a row", maxListings)
}

func (r *rules) listOnce() ([]*nftables.Chain, error) {
	if err := r.limitWait(); err != nil {
		return nil, err
	}
	return r.ListChainsOfTableFamily(nftables.TableFamilyINet)
}

func sameChain(a, b *nftables.Chain) bool { return a.Table.Name == b.Table.Name && a.Name == b.Name }

// generation is the number of the rules' present state: each change makes another.
func (r *rules) generation() (uint32, error) {
	answers, err := r.ask(message(nftType(unix.NFT_MSG_GETGEN), 0, unix.AF_UNSPEC, 0, nil))
	if err != nil {
		return 0, fmt.Errorf("generation of the rules: %w", err)
	}
	for _, m := range answers {
		if m.Header.Type != nftType(unix.NFT_MSG_NEWGEN) || len(m.Data) < nfgenmsgSize {
			continue
		}
		attributes, err := nl.NewAttributeDecoder(m.Data[nfgenmsgSize:])
		if err != nil {
			return 0, err
		}
		attributes.ByteOrder = binary.BigEndian
		for attributes.Next() {
			if attributes.Type() == unix.NFTA_GEN_ID {
				return attributes.Uint32(), nil
			}
		}
	}
	return 0, errors.New("the kernel does not tell the generation of the rules")
}

// removeTable removes a table without chains. One that has any stays: other daemons of this host keep theirs in it, and may be
// about to add the first. The kernel decides that; a look beforehand would be out of date by the time of the removal, which by
// default takes all that is in a table with it. The library cannot ask for this, so the messages are made here
// (linux/netfilter/nfnetlink.h and nf_tables.h).
func (r *rules) removeTable(name string) error {
	attributes, err := nl.MarshalAttributes([]nl.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: []byte(name + "\x00")}})
	if err != nil {
		return err
	}
	_, err = r.ask(
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil),
		message(nftType(unix.NFT_MSG_DELTABLE), nl.Acknowledge|unix.NLM_F_NONREC, unix.NFPROTO_INET, 0, attributes),
		message(unix.NFNL_MSG_BATCH_END, 0, 0, unix.NFNL_SUBSYS_NFTABLES, nil),
	)
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove table %s: %w", name, err)
	}
	return nil
}

// nfgenmsgSize is the size of what begins each message after its header: family, version, resource.
const nfgenmsgSize = 4

func nftType(kind int) nl.HeaderType { return nl.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind) }

func message(kind nl.HeaderType, flags nl.HeaderFlags, family, resource byte, data []byte) nl.Message {
	return nl.Message{Header: nl.Header{Type: kind, Flags: nl.Request | flags}, Data: append([]byte{family, unix.NFNETLINK_V0, 0, resource}, data...)}
}

// ask sends messages to the kernel and returns the first answer.
func (r *rules) ask(messages ...nl.Message) ([]nl.Message, error) {
	if err := r.limitWait(); err != nil {
		return nil, err
	}
	if _, err := r.raw.SendMessages(messages); err != nil {
		return nil, err
	}
	return r.raw.Receive()
}

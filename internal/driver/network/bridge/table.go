package bridge

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	nl "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// removeTable removes a table without chains. One that has any stays: other daemons of this host keep theirs in it, and may be
// about to add the first. The kernel decides that; a look beforehand would be out of date by the time of the removal, which by
// default takes all that is in a table with it. The library cannot ask for this, so the messages are made here
// (linux/netfilter/nfnetlink.h and nf_tables.h).
func removeTable(name string) error {
	conn, err := nl.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(firewallWait)); err != nil {
		return err
	}
	attributes, err := nl.MarshalAttributes([]nl.Attribute{{Type: unix.NFTA_TABLE_NAME, Data: []byte(name + "\x00")}})
	if err != nil {
		return err
	}
	const subsystem = unix.NFNL_SUBSYS_NFTABLES
	message := func(kind nl.HeaderType, flags nl.HeaderFlags, family, resource byte, data []byte) nl.Message {
		return nl.Message{Header: nl.Header{Type: kind, Flags: nl.Request | flags}, Data: append([]byte{family, unix.NFNETLINK_V0, 0, resource}, data...)}
	}
	if _, err := conn.SendMessages([]nl.Message{
		message(unix.NFNL_MSG_BATCH_BEGIN, 0, 0, subsystem, nil),
		message(subsystem<<8|unix.NFT_MSG_DELTABLE, nl.Acknowledge|unix.NLM_F_NONREC, unix.NFPROTO_INET, 0, attributes),
		message(unix.NFNL_MSG_BATCH_END, 0, 0, subsystem, nil),
	}); err != nil {
		return fmt.Errorf("remove table %s: %w", name, err)
	}
	_, err = conn.Receive()
	if errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOENT) {
		return nil
	}
	return err
}

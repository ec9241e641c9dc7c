// Package lock keeps changes of the same named objects apart.
//
// # Terms
//
// An Object is anything that changes concern: an instance, a pool, a profile, the ranges of IDs. A Claim asks for objects,
// each exclusively (it is about to change) or shared (it is only relied upon: the source of a copy, the pool of a new
// volume). A claim is granted whole or not at all; what was granted is Held until its Release.
//
// # One order
//
// The objects of a claim are taken in one order, by kind and then by name, so that two claims never wait for each other.
// Whoever holds objects and claims more asks for kinds further down the list only, and passes on the context that
// Held.Context makes: a claim out of order is refused, as a mistake of the program.
//
// # Waits
//
// No wait is without a bound. A claim that does not get its objects fails with an error that names what is busy and what
// with (api.BadRequest for instances, as LXD answers; api.Conflict for all others). Claims are served in the order in which
// they came, as far as they exclude each other: readers that keep coming do not keep a writer out.
//
// Locks live in the daemon's memory: they end with it, and what it was doing is in the journal.
package lock

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berthd/berth/api"
)

// Kind is a kind of object. The list is the order in which kinds are taken.
type Kind int

// Kinds of objects, in their order.
const (
	Project Kind = iota
	Profile
	Instance
	Pool
	Source // what a pool is made of: a folder of the host, whichever pool asks for it
	Network
	Interface // a network interface of the host, whichever project's network it is made for
	Image
	Volume     // the content of a volume, an instance's root among them
	Freeze     // whether an instance stays as it is for copies of it: frozen, or stopped
	Attachment // what a device holds
	Mount      // the mounting of one volume
	IDs        // ranges of user and group IDs
)

var kindNames = map[Kind]string{
	Project: "Project", Profile: "Profile", Instance: "Instance", Pool: "Storage pool", Source: "Source", Network: "Network", Interface: "Network interface", Image: "Image",
	Volume: "Storage volume", Freeze: "Freeze", Attachment: "Attachment", Mount: "Mount", IDs: "ID range",
}

// String is the kind at the beginning of a sentence: "Storage pool".
func (k Kind) String() string { return kindNames[k] }

// Object names one object: kind and path, such as project and name.
type Object struct {
	Kind Kind
	name string
}

// Of names the object of a kind at a path. Elements may hold any character.
func Of(k Kind, path ...string) Object { return Object{Kind: k, name: strings.Join(path, "\x00")} }

// Name is the last element of the object's path: what its users call it.
func (o Object) Name() string { return o.name[strings.LastIndexByte(o.name, 0)+1:] }

func (o Object) compare(other Object) int {
	return cmp.Or(cmp.Compare(o.Kind, other.Kind), cmp.Compare(o.name, other.name))
}

// Want is one object of a claim.
type Want struct {
	Object Object
	Shared bool
}

// Exclusive wants an object that is about to change.
func Exclusive(o Object) Want { return Want{Object: o} }

// Shared wants an object to stay as it is.
func Shared(o Object) Want { return Want{Object: o, Shared: true} }

// Patience says how long a claim waits for what others hold.
type Patience int

// How long a claim waits; the context can end each wait sooner.
const (
	// Short waits up to Bound for holders whose claim is Brief, and fails at once for any other holder.
	Short Patience = iota
	// Long waits up to Bound for any holder.
	Long
	// Soon waits up to Grace for any holder, and fails with a Busy that tells who it is: for a claim on top of what others want meanwhile, who
	// gives that up until it has a chance.
	Soon
	// Unbounded waits for the context alone: for what must happen sooner or later, such as tidying up.
	Unbounded
)

// Bound is the longest wait of a claim that is not Unbounded.
const Bound = 30 * time.Second

// Grace is the longest wait of a claim that is to be had Soon.
const Grace = 2 * time.Second

// Claim says what objects are wanted for.
type Claim struct {
	Action   string // "delete": what others are told the object is busy with
	Brief    bool   // it ends soon: a Short claim waits for it instead of failing at once
	Patience Patience
}

// Busy is the error of a claim that is not to be had Soon.
type Busy struct {
	error
	// Holder has the object that is in the way.
	Holder *Held
}

// Unwrap is the error of any other claim.
func (b *Busy) Unwrap() error { return b.error }

// busy is the error of a claim for an object that another action holds.
func busy(o Object, action string) error {
	if o.Kind == Instance || o.Kind == Freeze {
		return api.BadRequest("Instance is busy running a %q operation", action)
	}
	return api.Conflict("%s %q is busy running a %q operation", o.Kind, o.Name(), action)
}

// inOrder sorts wants and drops duplicates; of an object wanted both ways, the exclusive want stays.
func inOrder(wants []Want) []Want {
	sorted := slices.Clone(wants)
	slices.SortFunc(sorted, func(a, b Want) int {
		if c := a.Object.compare(b.Object); c != 0 {
			return c
		}
		switch {
		case a.Shared == b.Shared:
			return 0
		case a.Shared:
			return 1
		}
		return -1
	})
	return slices.CompactFunc(sorted, func(a, b Want) bool { return a.Object == b.Object })
}

// errOrder is the error of a claim out of order, which could wait forever: a mistake of the program.
func errOrder(o, held Object) error {
	return fmt.Errorf("lock: %s %q is claimed after %s %q: out of order", o.Kind, o.Name(), held.Kind, held.Name())
}

package store

import (
	"fmt"
	"slices"
	"strings"
)

// MaxKeyBytes is how long a key may be: what the engines take.
const MaxKeyBytes = 32 << 10

// Op is one key of a commit: a put, a delete when Delete is set, or a guard alone when Check is.
type Op struct {
	Key    string
	Value  []byte
	Delete bool
	// Check writes nothing: the commit only depends on the key being as Guard says.
	Check bool
	// Guard, if set, is the revision the key must have before the commit; 0 demands that it does not exist.
	Guard *Revision
	// Lease, if set, is what the key is put under: it is deleted when that ends. A put without one takes the key from under
	// any it was under.
	Lease LeaseID

	// decoded is Value as the table will hold it: decoded from Value by whoever made the op, so that nobody waits for
	// it while a commit is applied, and so that it shares no memory with what the caller passed.
	decoded any
}

// At returns op with rev as its guard, such as the revision that a client has seen.
func (op Op) At(rev Revision) Op {
	op.Guard = &rev
	return op
}

// Under returns op, a put, with the lease that its key lives under.
func (op Op) Under(lease LeaseID) Op {
	op.Lease = lease
	return op
}

// Validate refuses a commit that no engine takes, whatever is in the store; one beyond the limits with ErrTooLarge. Engines call it before
// anything else.
func Validate(ops []Op) error {
	for i := range ops {
		if err := ops[i].validate(); err != nil {
			return err
		}
	}
	if err := distinct(ops); err != nil {
		return err
	}
	return checkLimits(ops)
}

func (op *Op) validate() error {
	switch {
	case !strings.HasPrefix(op.Key, "/") || len(op.Key) > MaxKeyBytes:
		return fmt.Errorf("key %.64q: must start with a slash and be at most %d bytes long", op.Key, MaxKeyBytes)
	case op.Check && (op.Delete || op.Value != nil):
		return fmt.Errorf("key %.64q: a check writes nothing", op.Key)
	case op.Lease != 0 && (op.Check || op.Delete):
		return fmt.Errorf("key %.64q: only what is put can have a lease", op.Key)
	case op.Check && op.Guard == nil:
		return fmt.Errorf("key %.64q: a check needs the revision that is expected", op.Key)
	}
	return nil
}

// few is up to how many keys are sooner compared with each other than looked up.
const few = 8

// distinct refuses a key that is there twice: engines do not agree on which of two writes is the later one.
func distinct(ops []Op) error {
	if len(ops) <= few {
		for i := range ops {
			for j := range i {
				if ops[i].Key == ops[j].Key {
					return fmt.Errorf("key %.64q: %w", ops[i].Key, ErrDuplicateKey)
				}
			}
		}
		return nil
	}
	seen := make(map[string]struct{}, len(ops))
	for _, op := range ops {
		if _, twice := seen[op.Key]; twice {
			return fmt.Errorf("key %.64q: %w", op.Key, ErrDuplicateKey)
		}
		seen[op.Key] = struct{}{}
	}
	return nil
}

// Guarded adds guards to ops. What is written is guarded already, or not at all: one that was read at another time than the guard is ErrConflict.
func Guarded(ops, guards []Op) ([]Op, error) {
	ops = slices.Clip(ops)
	for _, g := range guards {
		at := slices.IndexFunc(ops, func(op Op) bool { return op.Key == g.Key })
		switch {
		case at < 0:
			ops = append(ops, g)
		case ops[at].Guard == nil || *ops[at].Guard != *g.Guard:
			return nil, ErrConflict
		}
	}
	return ops, nil
}

package store

import (
	"context"
	"fmt"
)

// What a commit may hold at most: what etcd takes by default, as of its "--max-txn-ops" and "--max-request-bytes".
const (
	MaxOps   = 128
	MaxBytes = 1536 << 10 // as Size counts
)

// opOverhead is what an op takes in a request besides its key and value, at most.
const opOverhead = 64

// Size is what an op counts of MaxBytes. Its key is sent up to three times: with the guard, with the write, and to learn what
// is there when the guard fails.
func (op Op) Size() int { return 3*len(op.Key) + len(op.Value) + opOverhead }

func checkLimits(ops []Op) error {
	if len(ops) > MaxOps {
		return fmt.Errorf("%w: %d keys, of at most %d", ErrTooLarge, len(ops), MaxOps)
	}
	size := 0
	for _, op := range ops {
		size += op.Size()
	}
	if size > MaxBytes {
		return fmt.Errorf("%w: %d bytes, of at most %d", ErrTooLarge, size, MaxBytes)
	}
	return nil
}

// CommitAll commits ops in order and in as many commits as the limits ask for, the last of which has all of `last` too: what
// must not be there before all the rest is, such as the end of a journal's entry. If all of it fits, it is one commit.
//
// Others see what lies between two of the commits, and a kill can come there: whoever calls holds the lock of what is
// being changed, and has an entry in the journal whose handler commits the rest, or takes back what is there. So ops must be
// such that doing them once more does no harm: without guards, but for those in `last`.
func (s *Store) CommitAll(ctx context.Context, ops []Op, last ...Op) (Revision, error) {
	if len(ops)+len(last) == 0 {
		return s.seen.now(), nil
	}
	if err := checkLimits(last); err != nil {
		return 0, err
	}
	for {
		n := fits(ops, last)
		if n == len(ops) {
			return s.Commit(ctx, append(ops[:n:n], last...)...)
		}
		if n = fits(ops, nil); n == 0 {
			return 0, fmt.Errorf("key %.64q: %w: it alone takes %d bytes, of at most %d", ops[0].Key, ErrTooLarge, ops[0].Size(), MaxBytes)
		}
		if n == len(ops) { // they fit, and not with `last` beside them
			n = (n + 1) / 2
		}
		if _, err := s.Commit(ctx, ops[:n:n]...); err != nil {
			return 0, err
		}
		ops = ops[n:]
	}
}

// fits counts how many of ops can be in one commit with others.
func fits(ops, others []Op) int {
	size, n := 0, len(others)
	for _, op := range others {
		size += op.Size()
	}
	for i, op := range ops {
		if size += op.Size(); size > MaxBytes || n+i+1 > MaxOps {
			return i
		}
	}
	return len(ops)
}

// Package store keeps Berth's objects under keys, each with a revision, and the whole model of them in memory.
//
// # Terms
//
// A key is a path such as "/instances/default/web". An entry is a key, its value and the revision of the commit
// that wrote it last; that revision is what the API shows as ETag. A commit writes several keys at once, all or
// none, each once, and may be guarded: it fails with ErrConflict when a key, one that it writes or another, is not at
// the revision expected of it. An Engine makes commits durable; when Commit returns nil the change survives a power cut.
//
// Over an engine stands a Store with its Tables: typed, indexed by path, wholly in memory, and fed by the engine's watch.
// Reads never touch the disk. Values read from a table are shared and must not be changed: clone first.
//
// # The contract of an engine
//
// It is what bbolt and etcd can both keep; package storetest holds every engine to it.
//
// Revisions grow. A later commit has a greater one, and that is all: they do not begin at 1, and there may be gaps. What a
// commit changes has the commit's revision; a commit that changes nothing (checks alone, deletes of what is not there)
// makes none, and returns one at which what it found was true.
//
// Commits are bounded, to MaxOps keys and MaxBytes, beyond which they fail with ErrTooLarge and change nothing. What needs
// more is a change of several steps: see Store.CommitAll, and package journal for how such a change survives a kill.
//
// A commit fails in one of three ways. Refused: ErrConflict, ErrTooLarge, ErrDuplicateKey, ErrNoLease, a full disk; it
// changed nothing, and whoever knows why may try again. ErrClosed or ErrUnavailable: it changed nothing, and others will
// fare no better for now. ErrUnknownOutcome: whoever made it was cut off from whoever decides, and the commit has
// been made, or will be, or never will. It is not to be tried again blindly. Read what it was to write, and go by what is
// there: the tables show it once they follow again. A commit whose guards name what it replaces can be made again safely:
// if the first one was made after all, the second ends in ErrConflict.
//
// # From list to watch
//
// Scan says at which revision it read, and Watch delivers what was committed after a revision, so that nothing is lost
// between them, whoever commits: this process or another member. How far back a watch can begin is the engine's affair; what
// is too long ago gives ErrTooOld, then or in the middle of a watch, and whoever gets it scans again.
//
// A Store does just that. Own commits and those of others come to the tables by one path; Commit waits until they hold its
// own, and, after a conflict, whatever it conflicted with. What other stores wrote is decoded when it comes; of what this one
// wrote the decoded value travels along where the engine is in the same process.
//
// # Leases
//
// A key may be put under a lease: it is deleted, and watches see that, when the lease is revoked or has not been renewed
// for its time to live. Time is measured by the engine, from some moment between the call of Grant or Renew and its
// return. A lease never ends early; it may end late, by seconds when a cluster elects a leader. Leases of an engine in one
// process end with the process: opening the store drops their keys.
package store

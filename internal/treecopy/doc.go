// Package treecopy copies and removes whole directory trees, fast, and whatever the tree tries.
//
// Every name is resolved beneath an open directory and no link is ever followed, so a tree made by a guest or an
// archive cannot lead the root daemon elsewhere. What is mounted inside a tree is neither copied nor removed.
//
// What a copy has to be without, an extended attribute that the target's file system cannot hold, is named in the log.
//
// A copy keeps modes, owners, times (mtime, atime), extended attributes (file capabilities and ACLs among them), hard
// links within the tree, symbolic links, device nodes, pipes, sockets (nobody listens on them) and holes. File contents are shared (FICLONE) where the file system can, and copied inside the kernel where
// it cannot. A source that changes meanwhile gives a copy with each file as it was at some instant; files that
// disappear during the copy are left out.
package treecopy

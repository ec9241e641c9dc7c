package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
)

// bbolt's pages on disk. Its own check panics on damage, in a goroutine that nobody can guard; this one reads the file
// instead of a memory map and trusts nothing. A file that passes gives bbolt no reason to panic.
const (
	pageHeader     = 16
	leafElement    = 16
	branchElement  = 16
	bucketHeader   = 16
	flagBranch     = 0x01
	flagLeaf       = 0x02
	flagFreelist   = 0x10
	flagBucket     = 0x01 // of a leaf element
	noFreelist     = ^uint64(0)
	longFreelist   = 0xFFFF
	maxBucketDepth = 4
	maxTreeDepth   = 64
)

type verifier struct {
	f        *os.File
	pageSize int64
	high     int64
	seen     []bool   // pages that something refers to
	spare    [][]byte // buffers that nobody uses
}

// verifyPages checks the tree of pages below the newer meta page, and the list of free pages.
func verifyPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	meta, err := readMeta(f)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if need := meta.high * meta.pageSize; info.Size() < need {
		return fmt.Errorf("%w: the file is cut off: %d bytes of at least %d", ErrCorrupt, info.Size(), need)
	}
	v := &verifier{f: f, pageSize: meta.pageSize, high: meta.high, seen: make([]bool, meta.high)}
	v.seen[0], v.seen[1] = true, true
	if err := v.bucket(meta.root, 0); err != nil {
		return err
	}
	return v.freelist(meta.freelist)
}

func corrupt(id uint64, format string, args ...any) error {
	return fmt.Errorf("%w: page %d %s", ErrCorrupt, id, fmt.Sprintf(format, args...))
}

// read returns a page with its overflow, whose header fits where it stands. It is the caller's until done.
func (v *verifier) read(id uint64) ([]byte, error) {
	if id >= uint64(v.high) {
		return nil, corrupt(id, "is referred to but not there")
	}
	page := v.buffer()
	if _, err := v.f.ReadAt(page, int64(id)*v.pageSize); err != nil {
		return nil, corrupt(id, "cannot be read: %v", err)
	}
	overflow := int64(binary.NativeEndian.Uint32(page[12:]))
	if got := binary.NativeEndian.Uint64(page); got != id {
		return nil, corrupt(id, "says it is page %d", got)
	}
	if int64(id)+overflow >= v.high {
		return nil, corrupt(id, "goes on beyond the end")
	}
	if overflow == 0 {
		return page, nil
	}
	page = slices.Grow(page, int(overflow*v.pageSize))[:(overflow+1)*v.pageSize]
	if _, err := v.f.ReadAt(page[v.pageSize:], (int64(id)+1)*v.pageSize); err != nil {
		return nil, corrupt(id, "cannot be read: %v", err)
	}
	return page, nil
}

// buffer returns room for a page. A file has many, and few of them are looked at at once.
func (v *verifier) buffer() []byte {
	last := len(v.spare) - 1
	if last < 0 {
		return make([]byte, v.pageSize)
	}
	page := v.spare[last]
	v.spare = v.spare[:last]
	return page[:v.pageSize]
}

// done takes a page back that read returned.
func (v *verifier) done(page []byte) { v.spare = append(v.spare, page) }

// claim notes that a page and its overflow are in use, by one reference only.
func (v *verifier) claim(id uint64, page []byte) error {
	for i := range uint64(int64(len(page)) / v.pageSize) {
		if v.seen[id+i] {
			return corrupt(id+i, "is used twice")
		}
		v.seen[id+i] = true
	}
	return nil
}

func (v *verifier) bucket(root uint64, depth int) error {
	if depth > maxBucketDepth {
		return corrupt(root, "is nested too deep")
	}
	return v.tree(root, nil, nil, depth, 0)
}

// tree checks the page and what is below it; its keys must be from low on and before high.
func (v *verifier) tree(id uint64, low, high []byte, depth, level int) error {
	if level > maxTreeDepth {
		return corrupt(id, "is too deep in the tree")
	}
	page, err := v.read(id)
	if err != nil {
		return err
	}
	defer v.done(page)
	if err := v.claim(id, page); err != nil {
		return err
	}
	switch binary.NativeEndian.Uint16(page[8:]) {
	case flagLeaf:
		return v.leaf(id, page, low, high, depth)
	case flagBranch:
		return v.branch(id, page, low, high, depth, level)
	default:
		return corrupt(id, "is neither branch nor leaf")
	}
}

func (v *verifier) branch(id uint64, page, low, high []byte, depth, level int) error {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 || pageHeader+count*branchElement > len(page) {
		return corrupt(id, "has a wrong number of elements: %d", count)
	}
	keys, children := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := pageHeader + i*branchElement
		key, _, err := slice(page, at, binary.NativeEndian.Uint32(page[at:]), binary.NativeEndian.Uint32(page[at+4:]), 0)
		if err != nil {
			return corrupt(id, "element %d: %v", i, err)
		}
		keys[i], children[i] = key, binary.NativeEndian.Uint64(page[at+8:])
	}
	if err := ordered(id, keys, low, high); err != nil {
		return err
	}
	for i, child := range children {
		next := high
		if i+1 < count {
			next = keys[i+1]
		}
		if err := v.tree(child, keys[i], next, depth, level+1); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) leaf(id uint64, page, low, high []byte, depth int) error {
	count := int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeader+count*leafElement > len(page) {
		return corrupt(id, "has a wrong number of elements: %d", count)
	}
	keys := make([][]byte, count)
	for i := range count {
		at := pageHeader + i*leafElement
		flags := binary.NativeEndian.Uint32(page[at:])
		key, value, err := slice(page, at, binary.NativeEndian.Uint32(page[at+4:]),
			binary.NativeEndian.Uint32(page[at+8:]), binary.NativeEndian.Uint32(page[at+12:]))
		if err != nil {
			return corrupt(id, "element %d: %v", i, err)
		}
		keys[i] = key
		switch flags {
		case 0:
		case flagBucket:
			if err := v.nested(id, value, depth); err != nil {
				return err
			}
		default:
			return corrupt(id, "element %d has flags %#x", i, flags)
		}
	}
	return ordered(id, keys, low, high)
}

// nested checks a bucket in a leaf: its root page, or its only leaf within the value.
func (v *verifier) nested(id uint64, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return corrupt(id, "has a bucket without a header")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return v.bucket(root, depth+1)
	}
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != flagLeaf || depth >= maxBucketDepth {
		return corrupt(id, "has a damaged small bucket")
	}
	if binary.NativeEndian.Uint64(inline) != 0 || binary.NativeEndian.Uint32(inline[12:]) != 0 {
		return corrupt(id, "has a damaged small bucket")
	}
	return v.leaf(id, inline, nil, nil, depth+1)
}

// slice returns key and value of the element at `at`, whose data begins `pos` bytes after it.
func slice(page []byte, at int, pos, keySize, valueSize uint32) (key, value []byte, err error) {
	begin := uint64(at) + uint64(pos)
	middle := begin + uint64(keySize)
	end := middle + uint64(valueSize)
	if end > uint64(len(page)) {
		return nil, nil, fmt.Errorf("goes beyond its page")
	}
	return page[begin:middle], page[middle:end], nil
}

func ordered(id uint64, keys [][]byte, low, high []byte) error {
	for i, key := range keys {
		if i == 0 && low != nil && bytes.Compare(key, low) < 0 || i > 0 && bytes.Compare(key, keys[i-1]) <= 0 ||
			high != nil && bytes.Compare(key, high) >= 0 {
			return corrupt(id, "has its keys out of order")
		}
	}
	return nil
}

func (v *verifier) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	page, err := v.read(id)
	if err != nil {
		return err
	}
	defer v.done(page)
	if err := v.claim(id, page); err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(page[8:]) != flagFreelist {
		return corrupt(id, "is not the list of free pages")
	}
	count, ids := uint64(binary.NativeEndian.Uint16(page[10:])), page[pageHeader:]
	if count == longFreelist {
		count, ids = binary.NativeEndian.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt(id, "lists more free pages than it can hold")
	}
	last := uint64(1)
	for i := range count {
		free := binary.NativeEndian.Uint64(ids[i*8:])
		if free <= last || free >= uint64(v.high) || v.seen[free] {
			return corrupt(id, "lists page %d as free", free)
		}
		last = free
	}
	return nil
}

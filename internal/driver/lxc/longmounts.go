package lxc

import "io"

const (
	// maxPlace is how much of a root or a mount point of mountinfo is read: more than PATH_MAX when all of it is escaped.
	maxPlace = 20 << 10
	// maxOther is how much of any other field is read. A guest chooses three of them (type, source and options): with them and both places no line is
	// longer than the 64 KiB that readers of lines take.
	maxOther = 4 << 10
)

// shortFields passes on what lists mounts (proc_pid_mountinfo(5)), with no place longer than one limit, and no other field than another one. A guest can mount something at the
// end of a path as long as it likes, and a reader that gives up on that line misses all others. A place that is cut short is
// still longer than any path that can be opened.
type shortFields struct {
	from   io.Reader
	place  int // limit of the fourth and the fifth field
	other  int // limit of the rest
	field  int // of the line, from 0
	length int // of the field so far
	escape int // what is left of an escape ("\012"), which is not cut
}

func (s *shortFields) Read(p []byte) (int, error) {
	for {
		n, err := s.from.Read(p)
		if n = s.shorten(p[:n]); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// shorten takes out of p what is too long, and returns how much is left.
func (s *shortFields) shorten(p []byte) int {
	kept := 0
	for _, b := range p {
		switch {
		case b == ' ':
			s.field, s.length, s.escape = s.field+1, 0, 0
		case b == '\n':
			s.field, s.length, s.escape = 0, 0, 0
		case s.escape > 0:
			s.escape--
		case s.length >= s.limit():
			continue
		case b == '\\':
			s.escape = 3
		}
		s.length++
		p[kept] = b
		kept++
	}
	return kept
}

// limit is that of the field that is being read.
func (s *shortFields) limit() int {
	if s.field == 3 || s.field == 4 {
		return s.place
	}
	return s.other
}

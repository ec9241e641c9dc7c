package lxc

import "io"

// maxField is how much of a field of mountinfo is read: more than PATH_MAX when all of it is escaped, and so little that no line is too long
// for whoever reads lines.
const maxField = 20 << 10

// shortFields passes on what lists mounts (proc_pid_mountinfo(5)), with no field longer than limit. A guest can mount something at the
// end of a path as long as it likes, and a reader that gives up on that line misses all others. A place that is cut short is
// still longer than any path that can be opened.
type shortFields struct {
	from   io.Reader
	limit  int
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
		case b == ' ' || b == '\n':
			s.length, s.escape = 0, 0
		case s.escape > 0:
			s.escape--
		case s.length >= s.limit:
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

package treecopy

// Path is where something lies in a tree. It shares with the others the folders that lead there: a tree that a guest has made can have
// names of half a megabyte, and each of them written out, for thousands of files at once, would fill the memory. nil is the top.
type Path struct {
	folder *Path
	name   string
	length int // of all of it, in bytes
}

// Join is the path of an entry of the folder that p is.
func (p *Path) Join(name string) *Path {
	length := len(name)
	if p != nil {
		length += p.length + 1
	}
	return &Path{folder: p, name: name, length: length}
}

// Len is how long String is.
func (p *Path) Len() int {
	if p == nil {
		return len(".")
	}
	return p.length
}

// String is the path relative to the top, which is ".".
func (p *Path) String() string {
	if p == nil {
		return "."
	}
	text := make([]byte, p.length)
	for end := p.length; p != nil; p = p.folder {
		end -= copy(text[end-len(p.name):], p.name)
		if p.folder != nil {
			end--
			text[end] = '/'
		}
	}
	return string(text)
}

package rawjson

// Text is JSON as encoding/json writes it: without space between its parts. Where it is not, the functions here find less, or other
// ends, and whoever calls them compares or decodes what they cut out.
type Text interface{ ~string | ~[]byte }

// StringEnd is where the string ends that text starts with; -1 if it starts with none.
func StringEnd[T Text](text T) int {
	if len(text) == 0 || text[0] != '"' {
		return -1
	}
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// ValueEnd is where the value ends that text starts with; -1 if it starts with none.
func ValueEnd[T Text](text T) int {
	if len(text) == 0 {
		return -1
	}
	switch text[0] {
	case '"':
		return StringEnd(text)
	case '{', '[':
		return nestedEnd(text)
	}
	for i := range len(text) {
		switch c := text[i]; {
		case c == '-' || c == '+' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == 'E':
		case i == 0:
			return -1
		default:
			return i
		}
	}
	return len(text)
}

// nestedEnd is ValueEnd of an object or an array.
func nestedEnd[T Text](text T) int {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			length := StringEnd(text[i:])
			if length < 0 {
				return -1
			}
			i += length - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// Members are the members of an object in their order, each as `"name":value`. ok is false if text is no object without space between
// its members.
func Members[T Text](text T) (members []T, ok bool) {
	if len(text) < 2 || text[0] != '{' {
		return nil, false
	}
	if len(text) == 2 {
		return nil, text[1] == '}'
	}
	for len(text) > 1 { // a brace or a comma, and what is behind it
		text = text[1:]
		length := memberEnd(text)
		if length < 0 || length == len(text) {
			return nil, false
		}
		members = append(members, text[:length])
		if text = text[length:]; text[0] != ',' {
			break
		}
	}
	return members, len(text) == 1 && text[0] == '}'
}

func memberEnd[T Text](text T) int {
	name := StringEnd(text)
	if name < 0 || name == len(text) || text[name] != ':' {
		return -1
	}
	value := ValueEnd(text[name+1:])
	if value < 0 {
		return -1
	}
	return name + 1 + value
}

package spec

import "strconv"

// space moves to the next byte that is not white space.
func (d *decoder) space() {
	for d.pos < len(d.data) {
		switch d.data[d.pos] {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return
		}
	}
}

// peek returns the byte at the current position, 0 at the end. (A NUL byte is
// not JSON, so that the two need not be told apart.)
func (d *decoder) peek() byte {
	if d.pos < len(d.data) {
		return d.data[d.pos]
	}
	return 0
}

// object reads an object and calls member at the value of each key.
func (d *decoder) object(member func(key string) error) error {
	d.pos++ // {
	if err := d.enter(); err != nil {
		return err
	}
	d.space()
	if d.peek() == '}' {
		d.pos++
		d.depth--
		return nil
	}
	for {
		d.space()
		if d.peek() != '"' {
			return d.unexpected("a key in quotes")
		}
		key, err := d.str()
		if err != nil {
			return err
		}
		d.space()
		if d.peek() != ':' {
			return d.unexpected("a colon")
		}
		d.pos++
		d.path = append(d.path, step{key, -1})
		if err := member(key); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case '}':
			d.pos++
			d.depth--
			return nil
		default:
			return d.unexpected("a comma or }")
		}
	}
}

// array reads an array and calls element at each of its values.
func (d *decoder) array(element func(i int) error) error {
	d.pos++ // [
	if err := d.enter(); err != nil {
		return err
	}
	d.space()
	if d.peek() == ']' {
		d.pos++
		d.depth--
		return nil
	}
	for i := 0; ; i++ {
		d.path = append(d.path, step{"", i})
		if err := element(i); err != nil {
			return err
		}
		d.path = d.path[:len(d.path)-1]
		d.space()
		switch d.peek() {
		case ',':
			d.pos++
		case ']':
			d.pos++
			d.depth--
			return nil
		default:
			return d.unexpected("a comma or ]")
		}
	}
}

// enter counts how deep objects and arrays nest.
func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return d.syntax("the values nest too deep")
	}
	return nil
}

// skip reads a value and forgets it.
func (d *decoder) skip() error {
	d.space()
	switch c := d.peek(); {
	case c == '{':
		return d.object(func(string) error { return d.skip() })
	case c == '[':
		return d.array(func(int) error { return d.skip() })
	case c == '"':
		_, err := d.str()
		return err
	case c == 't':
		return d.literal("true")
	case c == 'f':
		return d.literal("false")
	case c == 'n':
		return d.literal("null")
	case c == '-' || '0' <= c && c <= '9':
		_, err := d.numeral()
		return err
	}
	return d.unexpected("a value")
}

// literal reads the word true, false or null.
func (d *decoder) literal(word string) error {
	for i := range len(word) {
		if d.peek() != word[i] {
			return d.unexpected(strconv.QuoteRune(rune(word[i])) + " of " + word)
		}
		d.pos++
	}
	return nil
}

// numeral reads a number (RFC 8259, section 6) and returns its text.
func (d *decoder) numeral() (string, error) {
	start := d.pos
	if d.peek() == '-' {
		d.pos++
	}
	if d.peek() == '0' {
		d.pos++
	} else if !d.digits() {
		return "", d.unexpected("a digit")
	}
	if d.peek() == '.' {
		d.pos++
		if !d.digits() {
			return "", d.unexpected("a digit")
		}
	}
	if c := d.peek(); c == 'e' || c == 'E' {
		d.pos++
		if c := d.peek(); c == '+' || c == '-' {
			d.pos++
		}
		if !d.digits() {
			return "", d.unexpected("a digit")
		}
	}
	return d.data[start:d.pos], nil
}

// digits moves over digits and returns whether there were any.
func (d *decoder) digits() bool {
	start := d.pos
	for c := d.peek(); '0' <= c && c <= '9'; c = d.peek() {
		d.pos++
	}
	return d.pos > start
}

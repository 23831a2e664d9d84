package spec

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string (RFC 8259, section 7). As in encoding/json, a byte that
// is not UTF-8 and half a surrogate pair become U+FFFD.
func (d *decoder) str() (string, error) {
	d.pos++ // "
	start := d.pos
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; {
		case c == '"':
			d.pos++
			return d.data[start : d.pos-1], nil
		case c == '\\' || c >= utf8.RuneSelf:
			return d.strSlowly(start)
		case c < ' ':
			return "", d.unexpected("the end of the string, or an escape,")
		}
		d.pos++
	}
	return "", d.unexpected("the end of the string")
}

// strSlowly goes on with a string that cannot be taken as it stands.
func (d *decoder) strSlowly(start int) (string, error) {
	out := append(make([]byte, 0, 2*(d.pos-start)+32), d.data[start:d.pos]...)
	for d.pos < len(d.data) {
		switch c := d.data[d.pos]; {
		case c == '"':
			d.pos++
			return string(out), nil
		case c == '\\':
			var err error
			if out, err = d.escape(out); err != nil {
				return "", err
			}
		case c < ' ':
			return "", d.unexpected("the end of the string, or an escape,")
		case c < utf8.RuneSelf:
			out = append(out, c)
			d.pos++
		default:
			r, size := utf8.DecodeRuneInString(d.data[d.pos:])
			out = utf8.AppendRune(out, r)
			d.pos += size
		}
	}
	return "", d.unexpected("the end of the string")
}

// escape reads one escape sequence and appends what it stands for.
func (d *decoder) escape(out []byte) ([]byte, error) {
	d.pos++ // backslash
	c := d.peek()
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		d.pos++
		r, ok := d.hex4(d.pos)
		if !ok {
			return nil, d.unexpected(`four hexadecimal digits after \u`)
		}
		d.pos += 4
		if utf16.IsSurrogate(r) {
			low, ok := rune(0), false
			if d.pos+1 < len(d.data) && d.data[d.pos] == '\\' && d.data[d.pos+1] == 'u' {
				low, ok = d.hex4(d.pos + 2)
			}
			if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
				d.pos += 6
			} else {
				r = utf8.RuneError
			}
		}
		return utf8.AppendRune(out, r), nil
	default:
		return nil, d.unexpected("an escape")
	}
	d.pos++
	return append(out, c), nil
}

// hex4 returns the value of the four hexadecimal digits at an offset.
func (d *decoder) hex4(at int) (rune, bool) {
	if at+4 > len(d.data) {
		return 0, false
	}
	var r rune
	for _, c := range d.data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

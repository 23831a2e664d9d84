package nsenter

import "encoding/binary"

// elfFlags: compressed instructions (Go's assembler may use them), and the
// double-float ABI that Linux programs have.
const elfFlags = 0x5

// stubEntry returns the code that loads stubImage into S2, for interpret, and
// the ELF machine.
func stubEntry() ([]byte, uint16) {
	// lui s2, stubImage >> 12; nop
	b := binary.LittleEndian.AppendUint32(nil, stubImage>>12<<12|18<<7|0x37)
	return binary.LittleEndian.AppendUint32(b, 0x00000013), 243
}

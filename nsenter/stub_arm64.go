package nsenter

import "encoding/binary"

const elfFlags = 0

// stubEntry returns the code that loads stubImage into X19, for interpret,
// and the ELF machine.
func stubEntry() ([]byte, uint16) {
	// movz x19, #(stubImage >> 16), lsl #16; nop
	b := binary.LittleEndian.AppendUint32(nil, 0xd2a00000|stubImage>>16<<5|19)
	return binary.LittleEndian.AppendUint32(b, 0xd503201f), 183
}

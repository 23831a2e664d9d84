package nsenter

const elfFlags = 0

// stubEntry returns the code that loads stubImage into R12, for interpret,
// and the ELF machine.
func stubEntry() ([]byte, uint16) {
	// mov r12d, stubImage (which clears the upper half); nop; nop
	return []byte{0x41, 0xbc, 0, 0, stubImage >> 16, 0, 0x90, 0x90}, 62
}

//go:build !(amd64 || arm64 || riscv64)

package nsenter

// supported says that this architecture has an interpreter: not yet. Start
// and Stub refuse to work, so nothing below is reached.
const supported = false

func spawn(*launch) int               { panic("no interpreter") }
func interpreterCode() []byte         { panic("no interpreter") }
func newLaunch() *launch              { panic("no interpreter") }
func newImage(int) ([]byte, uint64)   { panic("no interpreter") }
func (*launch) use(bool, uint64, int) { panic("no interpreter") }

const elfFlags = 0

func stubEntry() (code []byte, elf uint16) { panic("no interpreter") }

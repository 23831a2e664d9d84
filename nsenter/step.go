package nsenter

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Kind is what the child's interpreter does with a Step.
type Kind uint8

const (
	// Call makes the system call Trap with Args. A result of -errno is a
	// failure, unless Allow has its bit.
	Call Kind = iota
	// Wait is a Call whose result 0 is a failure too: a read that must not
	// find the end of the file.
	Wait
	// Clone is a Call after which two processes exist. The new one, which
	// sees 0, goes on with the next step; the old one goes on at Target.
	Clone
	// Jump makes no system call. It goes on at Target if the word at Args[0],
	// or of it the bits of Args[2] if that is not 0, equals Args[1], else with
	// the next step.
	Jump
	// Set makes no system call either: it stores Args[1], a number or an
	// address, at Args[0].
	Set
)

// AnyErrno is the Allow of a step that may fail in any way.
const AnyErrno = ^uint64(0)

// Says is what a message that a step sends means to the parent. It is for the
// parent alone; the interpreter does not see it.
type Says uint8

const (
	// SaysNothing is a step that sends no message.
	SaysNothing Says = iota
	// SaysMapMe asks for the maps of the user namespace just made, and is
	// followed by a Wait.
	SaysMapMe
	// SaysCloned tells the pid of the second child, which takes over.
	SaysCloned
	// SaysReady is said by the child that is to execute the program, before
	// the steps of Request.Finish, and is followed by a Wait.
	SaysReady
	// SaysExec announces the final execve.
	SaysExec
	// SaysOwn is a step's of Request.Finish: see Tail.Say.
	SaysOwn
)

// messageSize is the size of a message of the child: two words.
const messageSize = 16

// Step is one line of the table that the child works through. The child is
// no Go program, so a step holds nothing but what a system call needs.
type Step struct {
	Kind   Kind
	Says   Says
	Trap   uintptr // system call number
	Args   [6]Arg
	Save   Arg    // a place in the data that the result is stored at; the zero value: nowhere
	Allow  uint64 // bit e allows errno e: the child goes on at Target
	Target int    // index of a step in the same table; 0 means the next step
	Why    string // completes "could not …" for a person: "join the network namespace /run/netns/a"
}

// Arg is one argument of a Step. Its zero value is the number 0.
type Arg struct {
	kind argKind
	n    uintptr
}

type argKind uint8

const (
	argNum   argKind = iota // n itself
	argAddr                 // the address of the data at offset n
	argValue                // the word stored in the data at offset n, when the step runs
)

// Num returns an argument that is a number.
func Num(n int) Arg { return Arg{argNum, uintptr(n)} }

// Value returns the argument whose value is the word that another step saved
// at cell, which is one that Table.Cell returned.
func (cell Arg) Value() Arg { return Arg{argValue, cell.n} }

// Plus returns the address n bytes behind an address.
func (a Arg) Plus(n int) Arg { return Arg{a.kind, a.n + uintptr(n)} }

// Table is a list of steps and the data that they point at. It is position
// independent: Addr arguments are offsets until the table is linked at the
// address where it will be executed.
type Table struct {
	Steps []Step
	First int // index of Steps[0] in the messages of failing steps
	data  []byte
	ptrs  []int // offsets of words in data that are offsets of data
}

// Grow makes room for about so many steps more, so that it need not be made
// little by little.
func (t *Table) Grow(steps int) {
	const data = 40 // bytes that a step has
	t.Steps, t.data = slices.Grow(t.Steps, steps), slices.Grow(t.data, data*steps)
}

// Add appends a step and returns its index.
//
//go:noinline
func (t *Table) Add(s Step) int {
	t.Steps = append(t.Steps, s)
	return len(t.Steps) - 1
}

// Here returns the index of the step that is added next: a Target.
func (t *Table) Here() int { return len(t.Steps) }

// Goto appends what goes on at the step target.
func (t *Table) Goto(target int) {
	t.Add(Step{Kind: Jump, Args: [6]Arg{t.Cell()}, Target: target, Why: "go on elsewhere"})
}

// SkipIf appends what skips the next n steps if the word at cell is value.
func (t *Table) SkipIf(cell Arg, value, n int) {
	i := t.Add(Step{Kind: Jump, Args: [6]Arg{cell, Num(value)}, Why: "skip what is not needed"})
	t.Steps[i].Target = i + 1 + n
}

// Set appends what stores a number or an address at cell.
func (t *Table) Set(why string, cell, value Arg) {
	t.Add(Step{Kind: Set, Args: [6]Arg{cell, value}, Why: why})
}

// Errnos returns the Allow of these errnos, each of them less than 64.
func Errnos(list ...unix.Errno) uint64 {
	var bits uint64
	for _, e := range list {
		bits |= 1 << e
	}
	return bits
}

// Call appends a system call. It is called in very many places, of which each would
// be some 300 bytes longer.
//
//go:noinline
func (t *Table) Call(why string, trap uintptr, args ...Arg) *Step {
	s := Step{Trap: trap, Why: why}
	copy(s.Args[:], args)
	return &t.Steps[t.Add(s)]
}

// Cell reserves a word for a result and returns its address.
func (t *Table) Cell() Arg { return t.Words(0) }

// Words stores words and returns their address.
func (t *Table) Words(words ...uint64) Arg {
	at := t.align()
	for _, w := range words {
		t.data = putWord(t.data, w)
	}
	return Arg{argAddr, uintptr(at)}
}

// Point makes the word i of those at words the address of to, when the table is
// linked: for structures with pointers in them.
func (t *Table) Point(words Arg, i int, to Arg) {
	at := int(words.n) + 8*i
	setWord(t.data[at:], uint64(to.n))
	t.ptrs = append(t.ptrs, at)
}

// Bytes stores b and returns its address.
func (t *Table) Bytes(b string) Arg {
	at := len(t.data)
	t.data = append(t.data, b...)
	return Arg{argAddr, uintptr(at)}
}

// String stores s and a NUL and returns its address.
func (t *Table) String(s string) Arg {
	a := t.Bytes(s)
	t.data = append(t.data, 0)
	return a
}

// Strings stores a NULL-terminated array of strings, as execve takes it, and
// returns its address.
func (t *Table) Strings(list []string) Arg {
	at := t.align()
	t.data = append(t.data, make([]byte, 8*(len(list)+1))...)
	for i, s := range list {
		str := t.String(s) // may move the data
		setWord(t.data[at+8*i:], uint64(str.n))
		t.ptrs = append(t.ptrs, at+8*i)
	}
	return Arg{argAddr, uintptr(at)}
}

// align pads the data to a word and returns its length.
func (t *Table) align() int {
	for len(t.data)%8 != 0 {
		t.data = append(t.data, 0)
	}
	return len(t.data)
}

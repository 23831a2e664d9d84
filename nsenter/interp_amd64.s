#include "go_asm.h"
#include "textflag.h"

// What is kept in which register; the kernel changes only AX, CX and R11.
//
//	R12  the image (header)
//	BX   the op
//	R13  the op's kind

// func spawn(l *launch) int
//
// The signals are blocked here rather than in Go, so that nothing of the
// runtime can run on this thread between that and the clone.
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-16
	MOVQ	l+0(FP), R12
	MOVQ	$14, AX               // rt_sigprocmask
	MOVQ	$2, DI                // SIG_SETMASK
	LEAQ	launch_all(R12), SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	launch_trap(R12), AX
	MOVQ	launch_args+0(R12), DI
	MOVQ	launch_args+8(R12), SI
	MOVQ	launch_args+16(R12), DX
	MOVQ	launch_args+24(R12), R10
	MOVQ	launch_args+32(R12), R8
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	MOVQ	AX, R13
	MOVQ	$14, AX               // rt_sigprocmask
	MOVQ	$2, DI                // SIG_SETMASK
	LEAQ	launch_mask(R12), SI
	MOVQ	$0, DX
	MOVQ	$8, R10
	SYSCALL
	MOVQ	R13, ret+8(FP)
	RET
child:
	MOVQ	launch_image(R12), R12
	JMP	·interpret(SB)

// func interpret()
//
// Position independent, without stack, g, calls and relocations: its bytes
// are copied into the stub, too. It is entered with the image in R12, and
// never returns.
TEXT ·interpret(SB), NOSPLIT|NOFRAME, $0-0
	MOVQ	header_first(R12), BX
loop:
	MOVQ	op_kind(BX), R13
	MOVQ	op_trap(BX), AX
	MOVQ	op_args+0(BX), DI
	MOVQ	op_args+8(BX), SI
	MOVQ	op_args+16(BX), DX
	MOVQ	op_args+24(BX), R10
	MOVQ	op_args+32(BX), R8
	MOVQ	op_args+40(BX), R9
	CMPQ	R13, $const_Jump
	JEQ	jump
	CMPQ	R13, $const_Set
	JEQ	set
	MOVQ	op_load(BX), CX
	TESTQ	CX, CX
	JNE	load
call:
	SYSCALL
	MOVQ	op_save(BX), DX
	TESTQ	DX, DX
	JEQ	saved
	MOVQ	AX, (DX)
saved:
	CMPQ	AX, $-4095
	JCC	errno                 // unsigned: -4095 to -1
	CMPQ	R13, $const_Call
	JEQ	next
	CMPQ	R13, $const_Clone
	JEQ	clone
	TESTQ	AX, AX
	JNE	next
	MOVQ	$-32, AX              // Wait: end of file, -EPIPE
	JMP	fail
clone:
	TESTQ	AX, AX
	JNE	target
next:
	ADDQ	$op__size, BX
	JMP	loop
set:
	MOVQ	SI, (DI)
	JMP	next
jump:
	ANDQ	(DI), DX
	CMPQ	DX, SI
	JNE	next
target:
	MOVQ	op_target(BX), BX
	JMP	loop
errno:
	MOVQ	op_allow(BX), DX
	CMPQ	DX, $-1
	JEQ	target
	MOVQ	AX, CX
	NEGQ	CX
	CMPQ	CX, $63
	JHI	fail
	BTQ	CX, DX
	JCS	target
fail:
	MOVQ	op_index(BX), DX
	MOVQ	DX, header_index(R12)
	MOVQ	AX, header_errno(R12)
	MOVQ	header_fail(R12), BX
	JMP	loop
load:
	TESTQ	$1, CX
	JEQ	l1
	MOVQ	(DI), DI
l1:
	TESTQ	$2, CX
	JEQ	l2
	MOVQ	(SI), SI
l2:
	TESTQ	$4, CX
	JEQ	l3
	MOVQ	(DX), DX
l3:
	TESTQ	$8, CX
	JEQ	l4
	MOVQ	(R10), R10
l4:
	TESTQ	$16, CX
	JEQ	l5
	MOVQ	(R8), R8
l5:
	TESTQ	$32, CX
	JEQ	call
	MOVQ	(R9), R9
	JMP	call
	// Never executed: the end of the code, for interpreterCode.
	LONG	$0x72756f67           // "gour"
	LONG	$0x646e6564           // "dend"

// func interpretPC() unsafe.Pointer
TEXT ·interpretPC(SB), NOSPLIT, $0-8
	LEAQ	·interpret(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

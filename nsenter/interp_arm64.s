#include "go_asm.h"
#include "textflag.h"

// What is kept in which register; the kernel changes only R0.
//
//	R19  the image (header)
//	R20  the op
//	R21  the op's kind
//
// R28 is g and is left alone.

// func spawn(l *launch) int
//
// The signals are blocked here rather than in Go, so that nothing of the
// runtime can run on this thread between that and the clone.
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-16
	MOVD	l+0(FP), R19
	MOVD	$135, R8              // rt_sigprocmask
	MOVD	$2, R0                // SIG_SETMASK
	ADD	$launch_all, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	SVC
	MOVD	launch_trap(R19), R8
	MOVD	(launch_args+0)(R19), R0
	MOVD	(launch_args+8)(R19), R1
	MOVD	(launch_args+16)(R19), R2
	MOVD	(launch_args+24)(R19), R3
	MOVD	(launch_args+32)(R19), R4
	SVC
	CBZ	R0, child
	MOVD	R0, R21
	MOVD	$135, R8              // rt_sigprocmask
	MOVD	$2, R0                // SIG_SETMASK
	ADD	$launch_mask, R19, R1
	MOVD	$0, R2
	MOVD	$8, R3
	SVC
	MOVD	R21, ret+8(FP)
	RET
child:
	MOVD	launch_image(R19), R19
	B	·interpret(SB)

// func interpret()
//
// Position independent, without stack, g, calls and relocations: its bytes
// are copied into the stub, too. It is entered with the image in R19, and
// never returns.
TEXT ·interpret(SB), NOSPLIT|NOFRAME, $0-0
	MOVD	header_first(R19), R20
loop:
	MOVD	op_kind(R20), R21
	MOVD	op_trap(R20), R8
	MOVD	(op_args+0)(R20), R0
	MOVD	(op_args+8)(R20), R1
	MOVD	(op_args+16)(R20), R2
	MOVD	(op_args+24)(R20), R3
	MOVD	(op_args+32)(R20), R4
	MOVD	(op_args+40)(R20), R5
	CMP	$const_Jump, R21
	BEQ	jump
	CMP	$const_Set, R21
	BEQ	set
	MOVD	op_load(R20), R9
	CBNZ	R9, load
call:
	SVC
	MOVD	op_save(R20), R9
	CBZ	R9, saved
	MOVD	R0, (R9)
saved:
	CMN	$4095, R0
	BCS	errno                 // unsigned: -4095 to -1
	CMP	$const_Call, R21
	BEQ	next
	CMP	$const_Clone, R21
	BEQ	clone
	CBNZ	R0, next
	MOVD	$-32, R0              // Wait: end of file, -EPIPE
	B	fail
clone:
	CBNZ	R0, target
next:
	ADD	$op__size, R20, R20
	B	loop
set:
	MOVD	R1, (R0)
	B	next
jump:
	MOVD	(R0), R9
	AND	R2, R9
	CMP	R1, R9
	BNE	next
target:
	MOVD	op_target(R20), R20
	B	loop
errno:
	MOVD	op_allow(R20), R9
	CMN	$1, R9
	BEQ	target
	NEG	R0, R10
	CMP	$63, R10
	BHI	fail
	LSR	R10, R9, R9
	TBNZ	$0, R9, target
fail:
	MOVD	op_index(R20), R9
	MOVD	R9, header_index(R19)
	MOVD	R0, header_errno(R19)
	MOVD	header_fail(R19), R20
	B	loop
load:
	TBZ	$0, R9, l1
	MOVD	(R0), R0
l1:
	TBZ	$1, R9, l2
	MOVD	(R1), R1
l2:
	TBZ	$2, R9, l3
	MOVD	(R2), R2
l3:
	TBZ	$3, R9, l4
	MOVD	(R3), R3
l4:
	TBZ	$4, R9, l5
	MOVD	(R4), R4
l5:
	TBZ	$5, R9, call
	MOVD	(R5), R5
	B	call
	// Never executed: the end of the code, for interpreterCode.
	WORD	$0x72756f67           // "gour"
	WORD	$0x646e6564           // "dend"

// func interpretPC() unsafe.Pointer
TEXT ·interpretPC(SB), NOSPLIT, $0-8
	MOVD	$·interpret(SB), R0
	MOVD	R0, ret+0(FP)
	RET

#include "go_asm.h"
#include "textflag.h"

// What is kept in which register; the kernel changes only A0.
//
//	S2  the image (header)
//	S3  the op
//	S4  the op's kind
//
// S11 is g and is left alone.

// func spawn(l *launch) int
//
// The signals are blocked here rather than in Go, so that nothing of the
// runtime can run on this thread between that and the clone.
TEXT ·spawn(SB), NOSPLIT|NOFRAME, $0-16
	MOV	l+0(FP), S2
	MOV	$135, A7              // rt_sigprocmask
	MOV	$2, A0                // SIG_SETMASK
	ADD	$launch_all, S2, A1
	MOV	$0, A2
	MOV	$8, A3
	ECALL
	MOV	launch_trap(S2), A7
	MOV	(launch_args+0)(S2), A0
	MOV	(launch_args+8)(S2), A1
	MOV	(launch_args+16)(S2), A2
	MOV	(launch_args+24)(S2), A3
	MOV	(launch_args+32)(S2), A4
	ECALL
	BEQZ	A0, child
	MOV	A0, S4
	MOV	$135, A7              // rt_sigprocmask
	MOV	$2, A0                // SIG_SETMASK
	ADD	$launch_mask, S2, A1
	MOV	$0, A2
	MOV	$8, A3
	ECALL
	MOV	S4, ret+8(FP)
	RET
child:
	MOV	launch_image(S2), S2
	JMP	·interpret(SB)

// func interpret()
//
// Position independent, without stack, g, calls and relocations: its bytes
// are copied into the stub, too. It is entered with the image in S2, and
// never returns.
TEXT ·interpret(SB), NOSPLIT|NOFRAME, $0-0
	MOV	header_first(S2), S3
loop:
	MOV	op_kind(S3), S4
	MOV	op_trap(S3), A7
	MOV	(op_args+0)(S3), A0
	MOV	(op_args+8)(S3), A1
	MOV	(op_args+16)(S3), A2
	MOV	(op_args+24)(S3), A3
	MOV	(op_args+32)(S3), A4
	MOV	(op_args+40)(S3), A5
	MOV	$const_Jump, T0
	BEQ	S4, T0, jump
	MOV	$const_Set, T0
	BEQ	S4, T0, set
	MOV	op_load(S3), T1
	BNEZ	T1, load
call:
	ECALL
	MOV	op_save(S3), T0
	BEQZ	T0, saved
	MOV	A0, (T0)
saved:
	MOV	$-4096, T0
	BLTU	T0, A0, errno         // unsigned: -4095 to -1
	MOV	$const_Clone, T0
	BEQ	S4, T0, clone
	MOV	$const_Call, T0
	BEQ	S4, T0, next
	BNEZ	A0, next
	MOV	$-32, A0              // Wait: end of file, -EPIPE
	JMP	fail
clone:
	BNEZ	A0, target
next:
	ADD	$op__size, S3, S3
	JMP	loop
set:
	MOV	A1, (A0)
	JMP	next
jump:
	MOV	(A0), T0
	AND	A2, T0, T0
	BNE	T0, A1, next
target:
	MOV	op_target(S3), S3
	JMP	loop
errno:
	MOV	op_allow(S3), T0
	MOV	$-1, T1
	BEQ	T0, T1, target
	NEG	A0, T1
	MOV	$63, T2
	BLTU	T2, T1, fail
	SRL	T1, T0, T0
	AND	$1, T0, T0
	BNEZ	T0, target
fail:
	MOV	op_index(S3), T0
	MOV	T0, header_index(S2)
	MOV	A0, header_errno(S2)
	MOV	header_fail(S2), S3
	JMP	loop
load:
	AND	$1, T1, T0
	BEQZ	T0, l1
	MOV	(A0), A0
l1:
	AND	$2, T1, T0
	BEQZ	T0, l2
	MOV	(A1), A1
l2:
	AND	$4, T1, T0
	BEQZ	T0, l3
	MOV	(A2), A2
l3:
	AND	$8, T1, T0
	BEQZ	T0, l4
	MOV	(A3), A3
l4:
	AND	$16, T1, T0
	BEQZ	T0, l5
	MOV	(A4), A4
l5:
	AND	$32, T1, T0
	BEQZ	T0, call
	MOV	(A5), A5
	JMP	call
	// Never executed: the end of the code, for interpreterCode.
	WORD	$0x72756f67           // "gour"
	WORD	$0x646e6564           // "dend"

// func interpretPC() unsafe.Pointer
TEXT ·interpretPC(SB), NOSPLIT, $0-8
	MOV	$·interpret(SB), A0
	MOV	A0, ret+0(FP)
	RET

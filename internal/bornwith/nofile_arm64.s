#include "textflag.h"

// func readNofile(into *[2]uint64) int
TEXT ·readNofile(SB), NOSPLIT, $0-16
	MOVD	$261, R8 // prlimit64
	MOVD	$0, R0   // this process
	MOVD	$7, R1   // RLIMIT_NOFILE
	MOVD	$0, R2   // set nothing
	MOVD	into+0(FP), R3
	SVC
	MOVD	R0, ret+8(FP)
	RET

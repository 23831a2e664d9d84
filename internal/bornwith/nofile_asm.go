//go:build amd64 || arm64 || riscv64

package bornwith

// readNofile is prlimit64(0, RLIMIT_NOFILE, NULL, into). It returns 0 or the
// negative errno.
//
//go:noescape
func readNofile(into *[2]uint64) int

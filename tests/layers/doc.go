// Package layers holds the rules of this repository as tests: which package
// may import which, that each says what it is, that there is no C. It needs no
// root and runs nothing.
package layers

//go:build !libseccomp

package seccomp

import "github.com/gourd-oci/gourd/internal/defect"

// generate returns the program of a profile, or adds to d why there is none.
func generate(p *profile, d *defect.List) []Instruction { return compileGo(p, d) }

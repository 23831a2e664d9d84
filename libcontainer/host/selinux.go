package host

import (
	"slices"

	"github.com/gourd-oci/gourd/internal/linux"
)

// AskSELinux finds out which of these contexts the policy that is loaded does
// not have, for UnknownContexts. The empty one is not asked about.
func (f *Facts) AskSELinux(contexts ...string) {
	for _, c := range contexts {
		if f.SELinux && c != "" && !slices.Contains(f.UnknownContexts, c) && linux.UnknownContext(c) {
			f.UnknownContexts = append(f.UnknownContexts, c)
		}
	}
}

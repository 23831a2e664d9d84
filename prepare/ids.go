package prepare

import "github.com/gourd-oci/gourd/prepare/store"

// shortID is a short random word for a name.
func shortID() string { return store.NewContainerID()[:12] }

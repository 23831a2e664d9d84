package prepare

import "github.com/gourd-oci/gourd/tests/world"

func killSteps(t *world.T, arg string) {}

package libcontainer

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/libcontainer/plan"
	"github.com/gourd-oci/gourd/notify"
)

// landlocked is whether the container's processes are under Landlock rules.
func (c *Container) landlocked() bool {
	_, ok := c.rec.Annotations[plan.AnnotationLandlock]
	return ok
}

// explain adds to the error of an execve what Landlock may have to do with it:
// the kernel says no more than EACCES.
func (c *Container) explain(err error) error {
	var failure *notify.Error
	if c.landlocked() && errors.As(err, &failure) && failure.Step == notify.StepExec && failure.Errno == unix.EACCES {
		return fmt.Errorf("%w (the annotation %s has to allow the execution of it, and of its interpreter)", err, plan.AnnotationLandlock)
	}
	return err
}

// errLandlocked is why a container is neither saved nor restored: Landlock has
// no interface for who wants to do either, so that the processes would go on
// without their restrictions.
var errLandlocked = fmt.Errorf("CRIU cannot save and restore Landlock rules, which the annotation %s asks for", plan.AnnotationLandlock)

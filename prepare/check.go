package prepare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Problem is something that is not as it should be.
type Problem struct {
	// Object is what it is about: "layer KEY", "container NAME".
	Object  string `json:"object"`
	Problem string `json:"problem"`
	// Repaired says that it has been mended.
	Repaired bool `json:"repaired"`
	// Remedy is what was or would be done.
	Remedy string `json:"remedy"`
}

// CheckOptions are how thorough a check is.
type CheckOptions struct {
	// Repair mends what can be mended.
	Repair bool
	// Deep reads the layers, too, and compares all of it with what was imported.
	Deep bool
	// Import are the options for importing anew what is damaged.
	Import ImportOptions
}

// checker is one run of Check.
type checker struct {
	p   *Preparer
	o   CheckOptions
	ctx context.Context
	out []Problem
	bad map[string]bool // keys of layers that cannot be used
}

// found notes a problem and, if asked to, mends it.
func (c *checker) found(object, problem, remedy string, mend func() error) error {
	pr := Problem{Object: object, Problem: problem, Remedy: remedy}
	if c.o.Repair && mend != nil {
		if err := mend(); err != nil {
			c.out = append(c.out, pr)
			return fmt.Errorf("repair %s: %w", object, err)
		}
		pr.Repaired = true
	}
	c.out = append(c.out, pr)
	return nil
}

// Check looks at all of the store, and mends it if asked to. It waits until
// nobody uses the store. What could not be mended is in the error.
func (p *Preparer) Check(ctx context.Context, o CheckOptions) ([]Problem, error) {
	own, err := p.Store.Own()
	if err != nil {
		return nil, err
	}
	defer own.Unlock()
	c := &checker{p: p, o: o, ctx: ctx, bad: map[string]bool{}}
	var errs []error
	for _, f := range []func() error{c.temp, c.layers, c.images, c.containers, c.runs, c.leases} {
		errs = append(errs, f())
	}
	return c.out, errors.Join(errs...)
}

// temp finds what was being made or removed: nobody else has the store.
func (c *checker) temp() error {
	entries, err := os.ReadDir(c.p.Store.Root + "/tmp")
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		name := c.p.Store.Root + "/tmp/" + e.Name()
		errs = append(errs, c.found("tmp "+e.Name(), "it was being made or removed when its process ended", "remove it", func() error {
			return c.p.Store.Discard(name)
		}))
	}
	for _, part := range []string{"images", "containers"} {
		left, err := filepath.Glob(c.p.Store.Root + "/" + part + "/*/*.new-*")
		if err != nil {
			return err
		}
		for _, name := range left {
			errs = append(errs, c.found("file "+name, "it was being written when its process ended", "remove it", func() error { return os.Remove(name) }))
		}
	}
	return errors.Join(errs...)
}

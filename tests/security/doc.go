// Package security attacks the built runtime: one test for each published
// vulnerability of runc, crun and youki that a runtime can have, named after
// it, and some for promises of SECURITY.md that no vulnerability is named
// after. Each runs real containers in a world of its own (package world). What
// keeps each attack out, and the edits that let it in, are in README.md.
//
// What is about exec runs twice, for exec has two ways. A failing test says
// which promise is broken, not how to fix it.
//
// The runtime under test is $GOURD_RUNTIME, bin/gourd by default; the tests
// work with a copy of it, for some attacks would overwrite it.
package security

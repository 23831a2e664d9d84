// Package spec holds docs/spec.md against the runtime-spec's Go types, against
// the tables in gourd's code, and against the tests that the page names. It
// has only tests, which need neither root nor a built gourd.
package spec

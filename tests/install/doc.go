// Package install tests "make install": that everything of gourd is where
// engines, shells and the manual look for it, and that "make uninstall" takes it
// all away.
package install

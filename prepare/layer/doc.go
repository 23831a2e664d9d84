// Package layer turns the tar of an image's layer into a directory that
// overlayfs takes as one, and a directory back into a tar.
//
// archive/tar of the standard library reads and writes the tars: it knows PAX,
// GNU and ustar, long names, sparse files and xattrs, it is fuzzed, and it does
// nothing to a file system. What touches the file system is here, because the
// libraries that unpack layers do so by path and lose things: containerd's drops
// trusted xattrs, moby's lets an image set overlay's own. Every entry is made
// through a descriptor of its directory, which openat2 has found with the
// layer's directory as root: no name and no symlink leads out of it.
//
// It knows nothing of images and stores.
package layer

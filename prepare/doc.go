// Package prepare makes bundles out of images: it imports images into a store,
// stacks their layers for containers, writes the containers' config.json, and
// looks after all of it. It is what containers/storage and an engine's
// configuration code are to Podman, for people who run containers without one.
//
// A verb of the command gourd-prepare is a method of Preparer, in a file of its
// name. The work is done by the packages below:
//
//	image        reads images where they are
//	compression  what layers and archives are compressed with
//	layer        a layer's tar into a directory, and back
//	erofs        the metadata of a file system whose content is a layer's tar
//	store        keeps layers, images and containers so that a crash does no harm
//	overlay      stacks and mounts directories
//	config       image config and flags into config.json
//	hooksd       hooks from directories
//	lease        addresses
//
// It runs nothing: the runtime is executed, as by any other caller. The runtime
// does not link it.
package prepare

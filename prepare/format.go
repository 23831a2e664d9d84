package prepare

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/gourd-oci/gourd/prepare/erofs"
	"github.com/gourd-oci/gourd/prepare/layer"
	"github.com/gourd-oci/gourd/prepare/overlay"
	"github.com/gourd-oci/gourd/prepare/store"
)

// The files of a layer: in the format directory, and in the format erofs.
const (
	diffName     = "diff"
	manifestName = "manifest"

	indexName = "erofs"
	tarName   = "tar"
)

// format decides in which form layers are kept: as EROFS where this kernel
// mounts it from the store's files and reads it well. Elsewhere layers are
// unpacked, with a warning if EROFS was asked for.
func (p *Preparer) format(want string) (string, error) {
	tell := p.Log.Debug
	switch want {
	case store.FormatDirectory:
		return store.FormatDirectory, nil
	case "":
	case store.FormatEROFS:
		tell = p.Log.Warn
	default:
		return "", fmt.Errorf("layer format %q: it is %s or %s", want, store.FormatDirectory, store.FormatEROFS)
	}
	if p.Rootless {
		tell("only root can mount EROFS: layers are unpacked")
		return store.FormatDirectory, nil
	}
	if err := probeEROFS(p.Store.Root + "/tmp"); err != nil {
		tell("EROFS cannot be mounted from the store's files: layers are unpacked", "error", err)
		return store.FormatDirectory, nil
	}
	return store.FormatEROFS, nil
}

// probeEROFS mounts a small file system whose files are in dir, as layers are,
// and reads it. It matters where they are: the kernel takes no files of a tmpfs.
func probeEROFS(dir string) error {
	root := &erofs.Inode{Mode: unix.S_IFDIR | 0o755, Children: map[string]*erofs.Inode{
		"file": {Mode: unix.S_IFREG | 0o644, Size: 5, Offset: 512, Xattrs: map[string]string{"trusted.a": "b"}},
	}}
	data := append(make([]byte, 512), []byte("probe")...)
	data = append(data, make([]byte, 1024-len(data))...)
	var index bytes.Buffer
	if err := erofs.Write(&index, root, uint64(len(data))); err != nil {
		return err
	}
	files := make([]*os.File, 2)
	for i, content := range [][]byte{index.Bytes(), data} {
		fd, err := unix.Open(dir, unix.O_RDWR|unix.O_TMPFILE|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return fmt.Errorf("make a file without a name: %w", err)
		}
		files[i] = os.NewFile(uintptr(fd), "probe")
		defer files[i].Close()
		if _, err := files[i].Write(content); err != nil {
			return err
		}
	}
	d, err := overlay.EROFS(files[0], files[1])
	if err != nil {
		return err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), "file", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	f := os.NewFile(uintptr(fd), "file")
	defer f.Close()
	got, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if string(got) != "probe" {
		return errors.New("what is read is not what was written")
	}
	return nil
}

// index makes a layer of the format erofs in a directory.
func index(r io.Reader, tmp string, o layer.Options) (_ *made, err error) {
	create := func(name string) (*os.File, error) {
		return os.OpenFile(tmp+"/"+name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	data, err := create(tarName)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	meta, err := create(indexName)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, meta.Close()) }()
	hash := sha256.New()
	found, err := layer.Index(r, data, io.MultiWriter(meta, hash), o)
	return &made{store.Layer{Format: store.FormatEROFS, Sum: digest.NewDigest(digest.SHA256, hash)}, found}, err
}

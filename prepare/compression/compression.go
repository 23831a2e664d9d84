// Package compression reads what is compressed, whose kind it tells by the first
// bytes: gzip and zstd, which the image-spec has, and what is not compressed. Of
// other kinds it knows the name alone.
//
// It knows nothing of tars and images.
package compression

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// UnknownError says that something is compressed in a way that cannot be read.
type UnknownError struct{ Name string }

func (e *UnknownError) Error() string {
	return "it is compressed with " + e.Name + ", and only gzip and zstd can be read"
}

// maxWindow is the largest window of a zstd frame that is accepted, in bytes:
// what `zstd --ultra -22` uses is 128 MiB.
const maxWindow = 128 << 20

// unknown are the kinds that are only known, by how they begin. The specifications
// call the bytes their magic number.
var unknown = []struct{ magic, name string }{
	{"\xfd7zXZ\x00", "xz"}, {"BZh", "bzip2"}, {"\x04\x22\x4d\x18", "lz4"}, {"LZIP", "lzip"}, {"\x5d\x00\x00", "lzma"}, {"\x1f\x9d", "compress"},
}

// NewReader returns what is in a stream, uncompressed, and a function that gives
// back what that takes. What follows the compressed data is left in the stream.
func NewReader(in *bufio.Reader) (io.Reader, func(), error) {
	begin, err := in.Peek(6)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	switch {
	case bytes.HasPrefix(begin, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("gzip: %w", err)
		}
		return z, func() { z.Close() }, nil
	case isZstd(begin):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("zstd: %w", err)
		}
		return z, z.Close, nil
	}
	for _, u := range unknown {
		if bytes.HasPrefix(begin, []byte(u.magic)) {
			return nil, nil, &UnknownError{u.name}
		}
	}
	return in, func() {}, nil
}

// isZstd tells a frame, also one that is to be skipped, as zstd:chunked has them.
func isZstd(begin []byte) bool {
	return bytes.HasPrefix(begin, []byte{0x28, 0xb5, 0x2f, 0xfd}) ||
		len(begin) >= 4 && begin[0]&0xf0 == 0x50 && bytes.Equal(begin[1:4], []byte{0x2a, 0x4d, 0x18})
}

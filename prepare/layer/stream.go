// stream.go: from a blob to a tar, with every digest on the way.

package layer

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"

	"github.com/opencontainers/go-digest"

	"github.com/gourd-oci/gourd/prepare/compression"
)

// Expect says what a blob must be.
type Expect struct {
	// Digest and Size are the blob's; "" and -1: unknown.
	Digest digest.Digest
	Size   int64
	// DiffID is the digest of the tar in it; "": unknown.
	DiffID digest.Digest
}

// Stream is a blob being read as a tar. Read gives the tar; after its end
// Verify reads what is left and tells whether all was as expected.
type Stream struct {
	want Expect

	blob     *ahead // compressed, counted and hashed
	blobHash hash.Hash
	blobSize int64

	tarHash hash.Hash
	tarSize int64
	closers []func()
}

// NewStream starts reading a blob; count gets the number of compressed bytes
// as they are read, if it is not nil. The stream must be closed; the blob stays
// the caller's.
func NewStream(blob io.Reader, want Expect, count func(n int)) (*Stream, error) {
	s := &Stream{want: want, blobHash: sha256.New(), tarHash: sha256.New()}
	// Decompressing, and hashing with unpacking, are about the same work: each
	// has a goroutine.
	counted := readerFunc(func(p []byte) (int, error) {
		n, err := blob.Read(p)
		s.blobHash.Write(p[:n])
		s.blobSize += int64(n)
		if s.want.Size >= 0 && s.blobSize > s.want.Size {
			return n, fmt.Errorf("the blob is longer than %d bytes", s.want.Size)
		}
		if count != nil && n > 0 {
			count(n)
		}
		return n, err
	})
	in := bufio.NewReaderSize(counted, 256<<10)
	plain, stop, err := compression.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("read layer: %w", err)
	}
	s.blob = newAhead(plain, func() error {
		// What follows the compressed data belongs to the blob's digest, too.
		_, err := io.Copy(io.Discard, in)
		return err
	})
	s.closers = append(s.closers, s.blob.stop, stop)
	return s, nil
}

// Read reads the tar.
func (s *Stream) Read(p []byte) (int, error) {
	n, err := s.blob.Read(p)
	s.tarHash.Write(p[:n])
	s.tarSize += int64(n)
	return n, err
}

// TarSize is how many bytes of the tar have been read.
func (s *Stream) TarSize() int64 { return s.tarSize }

// Verify reads to the end and checks digests and size.
func (s *Stream) Verify() error {
	if _, err := io.Copy(io.Discard, s); err != nil {
		return err
	}
	if s.want.Size >= 0 && s.blobSize != s.want.Size {
		return fmt.Errorf("the blob has %d bytes, not %d", s.blobSize, s.want.Size)
	}
	if err := match("blob", s.want.Digest, s.blobHash); err != nil {
		return err
	}
	return match("diff id", s.want.DiffID, s.tarHash)
}

// DiffID is the digest of the tar, once Verify has succeeded.
func (s *Stream) DiffID() digest.Digest { return digest.NewDigest(digest.SHA256, s.tarHash) }

// match compares a digest, which must be a sha256 if there is one.
func match(what string, want digest.Digest, h hash.Hash) error {
	got := digest.NewDigest(digest.SHA256, h)
	if want != "" && want != got {
		return &DigestError{What: what, Want: want, Got: got}
	}
	return nil
}

// DigestError says that content is not what its name promises.
type DigestError struct {
	What      string
	Want, Got digest.Digest
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("%s: the content has the digest %s, not %s", e.What, e.Got, e.Want)
}

// Close ends the reading; the rest of the blob is not looked at.
func (s *Stream) Close() {
	for _, f := range s.closers {
		f()
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// ahead reads from r in a goroutine of its own, a few chunks ahead.
type ahead struct {
	full, free chan []byte
	done       chan struct{}
	ended      chan struct{}
	err        error // read after full is closed
	chunk      []byte
	rest       []byte
}

const (
	chunkSize = 256 << 10
	chunks    = 4
)

// newAhead starts reading; when r has ended, last is called.
func newAhead(r io.Reader, last func() error) *ahead {
	a := &ahead{full: make(chan []byte, chunks), free: make(chan []byte, chunks), done: make(chan struct{}), ended: make(chan struct{})}
	for range chunks {
		a.free <- make([]byte, chunkSize)
	}
	go a.run(r, last)
	return a
}

func (a *ahead) run(r io.Reader, last func() error) {
	defer close(a.ended)
	defer close(a.full)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.done:
			a.err = io.ErrClosedPipe
			return
		}
		n := 0
		var err error
		for n < chunkSize && err == nil {
			var m int
			m, err = r.Read(b[n:chunkSize])
			n += m
		}
		if n > 0 {
			a.full <- b[:n] // there is room: at most chunks are about
		}
		if err == nil {
			continue
		}
		a.err = err
		if err == io.EOF {
			if e := last(); e != nil {
				a.err = e
			}
		}
		return
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.chunk != nil {
			a.free <- a.chunk[:chunkSize]
			a.chunk = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.chunk, a.rest = b, b
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// stop ends the goroutine, which returns when its read does.
func (a *ahead) stop() {
	close(a.done)
	<-a.ended
}

package compression

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestTools: what the tools write is read, or named.
func TestTools(t *testing.T) {
	text := strings.Repeat("some text\n", 1000)
	for tool, readable := range map[string]bool{"cat": true, "gzip": true, "zstd": true, "pzstd": true, "xz": false, "bzip2": false, "lzip": false, "lz4": false, "lzma": false, "compress": false} {
		t.Run(tool, func(t *testing.T) {
			args := []string{"-c"}
			if tool == "cat" {
				args = nil
			}
			cmd := exec.Command(tool, args...)
			cmd.Stdin = strings.NewReader(text)
			data, err := cmd.Output()
			if err != nil {
				t.Skip(err)
			}
			r, stop, err := NewReader(bufio.NewReader(bytes.NewReader(data)))
			if !readable {
				var u *UnknownError
				if !errors.As(err, &u) || u.Name != tool {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			if got, err := io.ReadAll(r); err != nil || string(got) != text {
				t.Errorf("it is read as %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestNothing(t *testing.T) {
	r, stop, err := NewReader(bufio.NewReader(strings.NewReader("")))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}

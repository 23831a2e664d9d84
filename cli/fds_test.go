package cli

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestCheckFDs runs this test binary with descriptors passed on, and has it
// check them: what is inherited cannot be shown within one process.
func TestCheckFDs(t *testing.T) {
	if n := os.Getenv("GOURD_TEST_CHECK_FDS"); n != "" {
		count, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		// One of our own, which lands on the first free number.
		own, err := os.Open("/dev/null")
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		if err := checkFDs(count); err != nil {
			os.Stdout.WriteString("refused: " + err.Error() + "\n")
		} else {
			os.Stdout.WriteString("accepted\n")
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, tt := range []struct {
		passed, asked int
		want          string
	}{
		{0, 0, "accepted"},
		{2, 2, "accepted"},
		{2, 1, "accepted"},
		{0, 1, "refused: preserve file descriptor 3 (of 3 to 3): bad file descriptor"},
		{2, 3, "refused: preserve file descriptor 5 (of 3 to 5): bad file descriptor"}, // our own is there
		{1, 1 << 20, "refused: preserve file descriptor 4 "},
	} {
		cmd := exec.Command(self, "-test.run=^TestCheckFDs$")
		cmd.Env = append(os.Environ(), "GOURD_TEST_CHECK_FDS="+strconv.Itoa(tt.asked))
		for range tt.passed {
			cmd.ExtraFiles = append(cmd.ExtraFiles, null)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), tt.want) {
			t.Errorf("%d passed, %d asked for: %v\n%s", tt.passed, tt.asked, err, out)
		}
	}
}

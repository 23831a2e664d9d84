package cli

import (
	"slices"
	"strings"
	"testing"
)

func TestComplete(t *testing.T) {
	plainEnv(t)
	for _, tt := range []struct {
		line string // after "gourd "; what stands behind the last space is being typed
		kind string
		some string // some of the words, in this order
		none string // none of the words
	}{
		{"", completeWords, "create start run list completion", completeVerbName},
		{"st", completeWords, "start state", "list"},
		{"--ro", completeWords, "--root --rootless", "--log"},
		{"--root ", completeDirs, "", ""},
		{"--log-format ", completeWords, "text json", "table"},
		{"--log-format=", completeWords, "--log-format=text --log-format=json", ""},
		{"--log-format=j", completeWords, "--log-format=json", "--log-format=text"},
		{"--systemd-cgroup=", completeWords, "--systemd-cgroup=true", ""},
		{"create --b", completeWords, "--bundle", "--no-pivot"},
		{"create -", completeWords, "--bundle --root --help", "--env"},
		{"create --bundle ", completeDirs, "", ""},
		{"create -b ", completeDirs, "", ""},
		{"create --bundle=", completeDirs, "", ""},
		{"create --pid-file ", completeFiles, "", ""},
		{"create ", completeWords, "", "create"},
		{"list --format ", completeWords, "table json", ""},
		{"list -f j", completeWords, "json", "table"},
		{"help cre", completeWords, "create", "start"},
		{"completion ", completeWords, "bash zsh fish", ""},
		{"kill web ", completeWords, "HUP KILL TERM RTMIN RTMAX", "web"},
		{"kill web RTM", completeWords, "RTMIN RTMAX", "TERM"},
		{"kill web -", completeWords, "", "--all"}, // flags end at the id
		{"exec web ", completeFiles, "", ""},       // another program's line
		{"exec web ls --", completeFiles, "", ""},
		{"exec --tty ", completeWords, "", ""},
		{"delete -- --", completeWords, "", "--force"},
		{"nosuch ", completeWords, "", "create"},
		{"--help ", completeWords, "", "create"},
		{"spec --rootless", completeWords, "--rootless", ""},
	} {
		c := complete(strings.Split(tt.line, " "))
		var words []string
		for _, w := range c.words {
			words = append(words, w.word)
		}
		at := -1
		for _, w := range strings.Fields(tt.some) {
			i := slices.Index(words, w)
			if i <= at {
				t.Errorf("%q: %q is missing, or not in its place, in %q", tt.line, w, words)
			}
			at = i
		}
		for _, w := range strings.Fields(tt.none) {
			if slices.Contains(words, w) {
				t.Errorf("%q: %q is in %q", tt.line, w, words)
			}
		}
		if c.kind != tt.kind {
			t.Errorf("%q: got %s %q, want %s", tt.line, c.kind, words, tt.kind)
		}
		if slices.Sort(words); len(slices.Compact(words)) != len(c.words) {
			t.Errorf("%q: a word comes twice: %q", tt.line, words)
		}
	}
}

// TestOperandKinds: where an id is wanted, ids are offered.
func TestOperandKinds(t *testing.T) {
	for _, make := range verbTable() {
		v := make()
		creates := v.name == "create" || v.name == "run" || v.name == "restore"
		if wants := strings.HasPrefix(v.operands, "CONTAINER-ID") && !creates; wants != slices.Contains(v.operandKinds, operandContainer) {
			t.Errorf("%s %s: ids are offered: %v", v.name, v.operands, !wants)
		}
		if v.max >= 0 && len(v.operandKinds) > v.max {
			t.Errorf("%s: takes %d operands, %d are described", v.name, v.max, len(v.operandKinds))
		}
	}
}

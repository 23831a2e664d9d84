//go:build libseccomp

package seccomp

import (
	"strings"
	"testing"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// sound tells whether libseccomp can be believed about all calls of a profile:
// see the table differences for what it gets wrong.
func (o *oracle) sound() bool {
	for n, calls := range o.calls {
		for _, rules := range calls {
			if !soundRules(rules, abis[n].wide) {
				return false
			}
		}
	}
	return true
}

func soundRules(rules []*matched, wide bool) bool {
	conditional, several, ranges, unequal, masks := 0, false, false, false, false
	for _, r := range rules {
		if len(r.args) > 0 {
			conditional++
		}
		several = several || len(r.args) > 1
		for _, x := range r.args {
			switch x.Op {
			case specs.OpEqualTo:
			case specs.OpMaskedEqual:
				masks = true
			case specs.OpNotEqual:
				unequal = true
			default:
				ranges = true
			}
		}
	}
	oneAction := true
	for _, r := range rules {
		oneAction = oneAction && r.action == rules[0].action
	}
	switch {
	case conditional <= 1:
		return true
	case several:
		return false
	case !wide:
		return oneAction || !complementary(rules)
	case !ranges && oneAction:
		return true
	}
	return !ranges && !unequal && !masks
}

// soundAbsent tells the same of the calls that an architecture lacks, for which
// libseccomp makes rules all the same.
func soundAbsent(s *specs.LinuxSeccomp, archs []int) bool {
	for _, n := range archs {
		rules := map[string][]*matched{}
		for _, c := range s.Syscalls {
			for _, name := range c.Names {
				i, known := nameIndex(name, 0)
				if !known || abis[n].slots[i] != 0 {
					continue
				}
				for _, r := range split(c.Args) {
					rules[name] = append(rules[name], &matched{cut(&abis[n], r), ociAction(c.Action, c.ErrnoRet)})
				}
			}
		}
		for _, r := range rules {
			if !soundRules(r, abis[n].wide) {
				return false
			}
		}
	}
	return true
}

// complementary tells whether the rules have a comparison and its opposite,
// which libseccomp makes one node of its tree.
func complementary(rules []*matched) bool {
	opposite := map[specs.LinuxSeccompOperator]specs.LinuxSeccompOperator{
		specs.OpLessThan: specs.OpGreaterEqual, specs.OpLessEqual: specs.OpGreaterThan,
	}
	for _, r := range rules {
		for _, s := range rules {
			if len(r.args) == 0 || len(s.args) == 0 {
				continue
			}
			if a, b := r.args[0], s.args[0]; a.Index == b.Index && a.Value == b.Value && a.Op != b.Op && opposite[a.Op] == b.Op {
				return true
			}
		}
	}
	return false
}

// TestLibseccompAgrees compares random profiles about which libseccomp can be
// believed. They must mean the same, or be refused by both.
func TestLibseccompAgrees(t *testing.T) {
	agreed, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		goarch := rapid.SampledFrom([]string{"amd64", "386", "arm64", "ppc64le", "s390x", "mips64le", "mips", "riscv64"}).Draw(t, "machine")
		s := drawProfile(t, goarch, 8)
		for archs := archsOf(s, goarch); !newOracle(s, archs).sound() || !soundAbsent(s, archs); {
			s.Syscalls = s.Syscalls[:len(s.Syscalls)-1]
		}
		var d defect.List
		p := check(s, Env{Arch: goarch}, &d)
		if err := d.Err(); err != nil {
			t.Fatal(err)
		}
		theirs, theirErr := compileLibseccomp(p)
		if p.abis[0].big != hostABI().big {
			swap(theirs, p)
		}
		ours := compileGo(p, &d)
		switch ourErr := d.Err(); {
		case ourErr != nil && theirErr != nil:
			refused++
			return
		case ourErr != nil:
			t.Fatalf("libseccomp takes it: %v", ourErr)
		case theirErr != nil:
			// libseccomp refuses on the way to a rule without conditions that
			// makes the conflict moot, and conflicts about calls that the
			// filter's architectures lack.
			if !strings.Contains(theirErr.Error(), unix.EEXIST.Error()) || !newOracle(s, withTable()).conflicting(true) {
				t.Fatalf("we take it: %v", theirErr)
			}
			return
		}
		if diff := probe(s, goarch, running(ours, p.abis[0].big), running(theirs, p.abis[0].big)); diff != "" {
			t.Fatal("gourd and libseccomp: " + diff)
		}
		agreed++
	})
	t.Logf("%d agreed, %d refused by both", agreed, refused)
	if agreed == 0 {
		t.Error("nothing was compared")
	}
}

// withTable returns all architectures that have a table.
func withTable() []int {
	var out []int
	for i := range abis {
		if abis[i].slots != nil {
			out = append(out, i)
		}
	}
	return out
}

// TestLibseccompDiffers checks that libseccomp does what the table differences
// says, so that a difference that has gone does not stay in it.
func TestLibseccompDiffers(t *testing.T) {
	for _, x := range differences {
		t.Run(x.name, func(t *testing.T) {
			if x.runc {
				t.Skip("runc's, not libseccomp's")
			}
			s := x.profile()
			var d defect.List
			p := check(s, Env{Arch: x.goarch}, &d)
			for _, name := range x.archs {
				p.abis = append(p.abis, &abis[abiNamed(string(name))])
			}
			theirs, err := compileLibseccomp(p)
			switch {
			case x.refused != "":
				if err == nil || !strings.Contains(err.Error(), x.refused) {
					t.Errorf("error %v, and the table says %q", err, x.refused)
				}
			case err != nil:
				t.Error(err)
			default:
				if got, _ := bpfvm.Run(theirs, &x.call, false); got != x.theirs {
					t.Errorf("libseccomp says %#x, and the table %#x", got, x.theirs)
				}
			}
		})
	}
}

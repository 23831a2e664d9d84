package seccomp

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// BenchmarkCompile compiles the engines' profiles. instructions is the length
// of the program, mean-steps and worst-steps are how many of them a call takes
// (over all numbers of x86-64), asking-steps those with conditions.
func BenchmarkCompile(b *testing.B) {
	for name, s := range engineProfiles(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var p *Program
			for b.Loop() {
				var d defect.List
				p, _ = compile(s, Env{Arch: "amd64"}, &d, compileGo)
			}
			report(b, s, p.Filter)
		})
	}
}

// report adds the lengths of a program's ways to a benchmark.
func report(b *testing.B, s *specs.LinuxSeccomp, code []Instruction) {
	o := newOracle(s, archsOf(s, "amd64"))
	var sum, n, worst, askSum, asks int
	for number := range uint32(470) {
		_, steps := bpfvm.Run(code, &bpfvm.Data{Number: number, Arch: unix.AUDIT_ARCH_X86_64}, false)
		sum, n, worst = sum+steps, n+1, max(worst, steps)
		if rules := o.calls[abiX8664][number]; len(rules) > 0 && len(rules[0].args) > 0 {
			askSum, asks = askSum+steps, asks+1
		}
	}
	b.ReportMetric(float64(len(code)), "instructions")
	b.ReportMetric(float64(sum)/float64(n), "mean-steps")
	b.ReportMetric(float64(worst), "worst-steps")
	if asks > 0 {
		b.ReportMetric(float64(askSum)/float64(asks), "asking-steps")
	}
}

const coldEnv = "GOURD_SECCOMP_TEST_COLD"

// BenchmarkCold compiles in a new process each time, and reports the time that
// Compile took there (µs/compile), not that of the process.
func BenchmarkCold(b *testing.B) {
	for name := range engineProfiles(b) {
		b.Run(name, func(b *testing.B) {
			var sum time.Duration
			n := 0
			for b.Loop() {
				cmd := exec.Command("/proc/self/exe")
				cmd.Env = append(os.Environ(), coldEnv+"="+name)
				out, err := cmd.Output()
				if err != nil {
					b.Fatal(err)
				}
				d, err := time.ParseDuration(string(out))
				if err != nil {
					b.Fatal(err)
				}
				sum, n = sum+d, n+1
			}
			b.ReportMetric(float64(sum.Microseconds())/float64(n), "µs/compile")
		})
	}
}

// cold compiles an engine's profile once and prints how long that took.
func cold(name string) {
	t := &testing.B{}
	s := engineProfiles(t)[name]
	start := time.Now()
	var d defect.List
	compile(s, Env{}, &d, compileGo)
	os.Stdout.WriteString(time.Since(start).String())
	os.Exit(0)
}

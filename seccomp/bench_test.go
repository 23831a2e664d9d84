package seccomp

import (
	"os"
	"os/exec"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gourd-oci/gourd/internal/defect"
	"github.com/gourd-oci/gourd/seccomp/internal/bpfvm"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hot are the calls of x86-64 that programs make most: read, write, mmap,
// recvfrom, futex, epoll_wait, clock_gettime, openat.
var hot = []uint32{0, 1, 9, 45, 202, 232, 228, 257}

// BenchmarkCompile compiles the engines' profiles. instructions is the length
// of the program, mean-steps and worst-steps are how many of them a call takes
// (over all numbers of x86-64), hot-steps those that programs make most,
// asking-steps those with conditions.
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
	var sum, n, worst, hotSum, askSum, asks int
	for number := range uint32(470) {
		_, steps := bpfvm.Run(code, &bpfvm.Data{Number: number, Arch: unix.AUDIT_ARCH_X86_64}, false)
		sum, n, worst = sum+steps, n+1, max(worst, steps)
		if rules := o.calls[abiX8664][number]; len(rules) > 0 && len(rules[0].args) > 0 {
			askSum, asks = askSum+steps, asks+1
		}
	}
	for _, number := range hot {
		_, steps := bpfvm.Run(code, &bpfvm.Data{Number: number, Arch: unix.AUDIT_ARCH_X86_64}, false)
		hotSum += steps
	}
	b.ReportMetric(float64(len(code)), "instructions")
	b.ReportMetric(float64(hotSum)/float64(len(hot)), "hot-steps")
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
	for compiler := range coldCompilers {
		for name := range engineProfiles(b) {
			b.Run(compiler+"/"+name, func(b *testing.B) { benchmarkCold(b, compiler+"/"+name) })
		}
	}
}

func benchmarkCold(b *testing.B, what string) {
	var all []time.Duration
	for b.Loop() {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), coldEnv+"="+what)
		out, err := cmd.Output()
		if err != nil {
			b.Fatal(err)
		}
		d, err := time.ParseDuration(string(out))
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, d)
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Nanoseconds())/1000, "median-µs/compile")
	b.ReportMetric(float64(all[0].Nanoseconds())/1000, "least-µs/compile")
}

// coldCompilers are the compilers to be compared; a build with libseccomp has
// both.
var coldCompilers = map[string]func(*specs.LinuxSeccomp){
	"gourd": func(s *specs.LinuxSeccomp) {
		var d defect.List
		compile(s, Env{}, &d, compileGo)
	},
}

// cold compiles an engine's profile once and prints how long that took.
func cold(what string) {
	compiler, name, _ := strings.Cut(what, "/")
	s := engineProfiles(&testing.B{})[name]
	debug.SetGCPercent(-1) // as in the verbs that compile
	start := time.Now()
	coldCompilers[compiler](s)
	os.Stdout.WriteString(time.Since(start).String())
	os.Exit(0)
}

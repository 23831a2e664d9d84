package rootfs
import ("testing";"time";"sort";"fmt";"github.com/opencontainers/runtime-spec/specs-go";"golang.org/x/sys/unix")
func TestZZ(t *testing.T) {
	var d [5][]time.Duration
	for range 60 {
		isolated(t, func(dir string) {
			for _, f := range []string{"a","b","c"} { write(t, dir+"/"+f, "x"); write(t, dir+"/rootfs/etc/"+f, "") }
			for _, f := range []string{"proc","sys","dev"} { mkdir(t, dir+"/rootfs/"+f) }
			newMountNS(t)
			s := example(fsMounts()...)
			for _, f := range []string{"a","b","c"} { s.Mounts = append(s.Mounts, specs.Mount{Source: f, Destination: "/etc/"+f, Options: opts("rbind","rprivate")}) }
			s.Linux.MaskedPaths = opts("/proc/asound","/proc/acpi","/proc/kcore","/proc/keys","/proc/latency_stats","/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/proc/scsi","/sys/firmware","/sys/devices/virtual/powercap")
			s.Linux.ReadonlyPaths = opts("/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger")
			s.Process = &specs.Process{Cwd: "/"}
			saved, _ := unix.Dup(0)
			p := planFor(t, dir, s)
			t0 := time.Now()
			r := open(t, p)
			t1 := time.Now()
			must(t, "m", r.Mount())
			t2 := time.Now()
			must(t, "p", r.Pivot())
			t3 := time.Now()
			must(t, "f", r.Finish())
			t4 := time.Now()
			unix.Dup3(saved, 0, 0); unix.Close(saved)
			for i, x := range []time.Duration{t1.Sub(t0), t2.Sub(t1), t3.Sub(t2), t4.Sub(t3), t4.Sub(t0)} { d[i] = append(d[i], x) }
		})
	}
	for i, n := range []string{"open","mount","pivot","finish","all"} { sort.Slice(d[i], func(a,b int) bool {return d[i][a]<d[i][b]}); fmt.Println(n, "min", d[i][0], "med", d[i][30]) }
}

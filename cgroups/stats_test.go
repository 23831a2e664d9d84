package cgroups

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestStats(t *testing.T) {
	c := fake(t, map[string]string{
		"cgroup.procs":             "",
		"cpu.pressure":             "some avg10=1.50 avg60=2.25 avg300=3.00 total=4\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n",
		"cpu.stat":                 "usage_usec 100\nuser_usec 60\nsystem_usec 40\nnice_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 2\nnr_bursts 0\nburst_usec 0\n",
		"cpuset.cpus.effective":    "0-1,9\n",
		"cpuset.mems.effective":    "0\n",
		"memory.stat":              "anon 5\nfile 6\n",
		"memory.current":           "1000\n",
		"memory.max":               "5000\n",
		"memory.peak":              "2000\n",
		"memory.swap.current":      "10\n",
		"memory.swap.max":          "max\n",
		"memory.events":            "low 0\nhigh 0\nmax 4\noom 2\noom_kill 1\n",
		"pids.current":             "3\n",
		"pids.max":                 "max\n",
		"io.stat":                  "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6\n",
		"io.pressure":              "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
		"hugetlb.2MB.events":       "max 8\n",
		"hugetlb.2MB.current":      "4\n",
		"hugetlb.2MB.rsvd.current": "2\n",
		"hugetlb.2MB.events.local": "max 0\n",
		"rdma.current":             "mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\n",
		"misc.current":             "sev 5\n",
		"misc.events":              "sev.max 6\n",
	})
	s, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
 "cpu": {
  "usage": {
   "total": 100000,
   "kernel": 40000,
   "user": 60000
  },
  "throttling": {
   "periods": 9,
   "throttledPeriods": 3,
   "throttledTime": 2000
  },
  "psi": {
   "some": {
    "avg10": 1.5,
    "avg60": 2.25,
    "avg300": 3,
    "total": 4
   },
   "full": {
    "avg10": 0,
    "avg60": 0,
    "avg300": 0,
    "total": 7
   }
  }
 },
 "cpuset": {
  "cpus": [
   0,
   1,
   9
  ],
  "cpu_exclusive": 0,
  "mems": [
   0
  ],
  "mem_hardwall": 0,
  "mem_exclusive": 0,
  "memory_migrate": 0,
  "memory_spread_page": 0,
  "memory_spread_slab": 0,
  "memory_pressure": 0,
  "sched_load_balance": 0,
  "sched_relax_domain_level": 0
 },
 "memory": {
  "cache": 6,
  "usage": {
   "limit": 5000,
   "usage": 1000,
   "max": 2000,
   "failcnt": 4
  },
  "swap": {
   "limit": 18446744073709551615,
   "usage": 1010,
   "failcnt": 0
  },
  "raw": {
   "anon": 5,
   "file": 6
  }
 },
 "pids": {
  "current": 3
 },
 "blkio": {
  "ioServiceBytesRecursive": [
   {
    "major": 8,
    "op": "Read",
    "value": 1
   },
   {
    "major": 8,
    "op": "Write",
    "value": 2
   }
  ],
  "ioServicedRecursive": [
   {
    "major": 8,
    "op": "Read",
    "value": 3
   },
   {
    "major": 8,
    "op": "Write",
    "value": 4
   }
  ],
  "psi": {}
 },
 "hugetlb": {
  "2MB": {
   "usage": 2,
   "failcnt": 8
  }
 },
 "intel_rdt": {},
 "network_interfaces": null,
 "rdma": {
  "mlx4_0": {
   "hcaHandles": 2,
   "hcaObjects": 2000
  },
  "ocrdma1": {
   "hcaHandles": 3,
   "hcaObjects": 18446744073709551615
  }
 },
 "misc": {
  "sev": {
   "usage": 5,
   "events": 6
  }
 }
}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
	if n, err := c.OOMKills(); err != nil || n != 1 {
		t.Errorf("OOMKills = %d, %v", n, err)
	}
}

func TestStatsOfNothing(t *testing.T) {
	c := fake(t, map[string]string{"cgroup.procs": "5\n6\n"})
	s, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Pids.Current != 2 || s.Memory.Raw != nil || s.CPU.PSI != nil || s.Hugetlb == nil || len(s.Hugetlb) != 0 {
		t.Errorf("%+v", s)
	}
	if n, err := c.OOMKills(); err != nil || n != 0 {
		t.Errorf("OOMKills = %d, %v", n, err)
	}
}

func TestStatsTellsWhatItCannotRead(t *testing.T) {
	c := fake(t, map[string]string{"cgroup.procs": "", "cpu.stat": "usage_usec many\n", "cpu.pressure": "some avg10=x\n", "io.stat": "8:0 rbytes=1\n"})
	s, err := c.Stats()
	if err == nil || s == nil || len(s.Blkio.ServiceBytes) != 1 {
		t.Errorf("%v, %+v; want an error and the rest", err, s)
	}
}

func TestStatsInTheKernel(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	// The read ends when the loop has.
	done, said, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer done.Close()
	cmd := exec.Command("sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; exec sleep 1000 >&-")
	cmd.Stdout = said
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: c.FD(), Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said.Close()
	if _, err := done.Read(make([]byte, 1)); err != io.EOF {
		t.Fatal(err)
	}
	s, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if s.Pids.Current != 1 {
		t.Errorf("%d processes, want 1", s.Pids.Current)
	}
	if s.CPU.Usage.Total == 0 {
		t.Error("no CPU time is used, though a program has been started")
	}
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stats(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stats of a removed cgroup: %v", err)
	}
}

// TestWatchOOM uses a plain file for the kills, which the kernel does not
// announce, but the real announcement of the end.
func TestWatchOOM(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	cmd := run(t, c, "sleep", "1000")
	w, err := c.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	type result struct {
		kills uint64
		ended bool
		err   error
	}
	results := make(chan result)
	go func() {
		kills, ended, err := w.Wait(-1, time.Time{})
		results <- result{kills, ended, err}
	}()
	cmd.Process.Kill()
	cmd.Wait()
	if r := <-results; r != (result{0, true, nil}) {
		t.Errorf("Wait = %+v, want only the end", r)
	}

	// Kills are told although the container has ended already, and once.
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("oom 9\noom_kill 2\n"); err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w2 := &Watch{c: c, memory: int(f.Fd()), procs: w.procs, removal: removalWatch{-1}}
	// Somebody who looked before the removal may know of more.
	if a, b := (&Watch{seen: 2}).Told(3), (&Watch{seen: 2}).Told(2); a != 1 || b != 0 {
		t.Errorf("told of 3 and 2 kills after 2: %d and %d are new", a, b)
	}
	for i, want := range []uint64{2, 0} {
		if kills, ended, err := w2.Wait(-1, time.Time{}); err != nil || kills != want || !ended {
			t.Errorf("Wait %d = %d, %v, %v", i, kills, ended, err)
		}
	}
}

// TestWatchOOMWaits shows the other ends of a wait: the time that it is given,
// and the end of one process of several.
func TestWatchOOMWaits(t *testing.T) {
	root := host(t)
	c := create(t, root, top(t, root))
	run(t, c, "sleep", "1000")
	init := run(t, c, "sleep", "1000")
	w, err := c.WatchOOM()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	pidfd, err := unix.PidfdOpen(init.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	until := time.Now().Add(5 * time.Millisecond)
	if kills, ended, err := w.Wait(pidfd, until); kills != 0 || ended || err != nil || time.Now().Before(until) {
		t.Errorf("Wait until a time = %d, %v, %v", kills, ended, err)
	}
	init.Process.Kill()
	if kills, ended, err := w.Wait(pidfd, time.Time{}); kills != 0 || !ended || err != nil {
		t.Errorf("Wait for the end of init = %d, %v, %v", kills, ended, err)
	}
}

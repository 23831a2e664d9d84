package cli

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/gourd-oci/gourd/libcontainer"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"-1": -1, "0": 0, "67108864": 1 << 26, "64M": 1 << 26, "64m": 1 << 26, "64mb": 1 << 26, "64MiB": 1 << 26, "64 M": 1 << 26,
		"1k": 1024, "1b": 1, "3G": 3 << 30, "2t": 2 << 40, "1P": 1 << 50, "1.5G": 3 << 29, "0.5k": 512, "1.k": 1024,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-2", "-1k", "M", "1e3", "0x10", "1.2.3", "1kk", "1i", "1ib", "1mi", "1bk", "1  k", "+1", "inf", "9223372036854775808", "9000P", "1 000"} {
		if n, err := parseSize(s); err == nil {
			t.Errorf("%q is taken for %d", s, n)
		}
	}
}

// options returns what an update of these arguments is asked to change.
func options(t *testing.T, stdin string, args ...string) (got, said string, err error) {
	t.Helper()
	plainEnv(t)
	r := try(func(p *program, c *cli.Context) error {
		var o libcontainer.UpdateOptions
		if o, err = updateOptions(c, strings.NewReader(stdin), p.log); err != nil {
			return nil
		}
		data, errJSON := json.Marshal(o.Resources)
		got = string(data) + " " + o.Flag
		return errJSON
	}, append([]string{"update", "web"}, args...)...)
	if r.code != 0 {
		t.Fatalf("%v: %s", args, r.stderr)
	}
	return got, r.stderr, err
}

func TestUpdateOptions(t *testing.T) {
	for _, tt := range []struct {
		args  string
		stdin string
		want  string
	}{
		{"", "", `{} `},
		{"--memory 64M --memory-swap -1 --memory-reservation=0.5k", "", `{"memory":{"limit":67108864,"reservation":512,"swap":-1}} `},
		{"--cpu-share 2 --cpu-quota -1 --cpu-period 3 --cpu-burst 0 --cpu-idle 1 --cpuset-cpus 0-1 --cpuset-mems 0", "",
			`{"cpu":{"shares":2,"quota":-1,"burst":0,"period":3,"cpus":"0-1","mems":"0","idle":1}} `},
		{"--cpu-rt-period 1 --cpu-rt-runtime 2", "", `{"cpu":{"realtimeRuntime":2,"realtimePeriod":1}} `},
		{"--pids-limit 0 --blkio-weight 10", "", `{"pids":{"limit":0},"blockIO":{"weight":10}} `},
		{"-r -", `{"pids":{"limit":7},"unified":{"memory.high":"5"}}`, `{"pids":{"limit":7},"unified":{"memory.high":"5"}} --resources`},
		{"--resources=-", `{"devices":[{"allow":true,"access":"r"}]}`, `{"devices":[{"allow":true,"access":"r"}]} --resources`},
	} {
		if got, said, err := options(t, tt.stdin, strings.Fields(tt.args)...); got != tt.want || said != "" || err != nil {
			t.Errorf("%s: %s, %v, want %s\n%s", tt.args, got, err, tt.want, said)
		}
	}
}

func TestUpdateSaysWhatItDoesNotLookAt(t *testing.T) {
	got, said, err := options(t, `{}`, "-r", "-", "--memory", "5")
	if err != nil || got != "{} --resources" || !strings.Contains(said, "--memory is not looked at, since --resources is given") {
		t.Errorf("%s, %v\n%s", got, err, said)
	}
	got, said, err = options(t, "", "--kernel-memory=5M", "--kernel-memory-tcp", "1")
	if err != nil || got != "{} " || !strings.Contains(said, "--kernel-memory 5M is ignored: ") || !strings.Contains(said, "--kernel-memory-tcp 1 is ignored: ") {
		t.Errorf("%s, %v\n%s", got, err, said)
	}
}

func TestUpdateResourcesTellsWhere(t *testing.T) {
	for stdin, want := range map[string]string{
		`{"memory": {"limit": "64M"}}`:            "update --resources: memory.limit: a string where a number belongs (line 1, column 22)",
		`{"pids": {"limit": 1}`:                   "update --resources: line 1, column 22: the file ends where a comma or } should be",
		`{"cpu": {"shares": -1}}`:                 "update --resources: cpu.shares: -1 where a whole number of 64 bits, from 0 on, belongs (line 1, column 20)",
		`{"hugepageLimits": [{"limit": []}]}`:     "update --resources: hugepageLimits[0].limit: an array where a number from 0 on belongs (line 1, column 31)",
		`[]`:                                      "update --resources: line 1, column 1: an object is expected",
		`{"devices": [{"allow": true}]} trailing`: "update --resources: line 1, column 32: there is more after the end of the object",
	} {
		if _, _, err := options(t, stdin, "-r", "-"); err == nil || err.Error() != want {
			t.Errorf("%s\n got %v\nwant %s", stdin, err, want)
		}
	}
}

func TestLimitName(t *testing.T) {
	for path, want := range map[string]string{
		"linux.resources.memory.limit": "--memory", "linux.resources.cpu.cpus": "--cpuset-cpus", "linux.resources.pids.limit": "--pids-limit",
		"linux.resources.memory.swap": "--memory-swap", "linux.resources.rdma.a": "rdma.a",
	} {
		if got := limitName(path); got != want {
			t.Errorf("%s is called %s", path, got)
		}
	}
}

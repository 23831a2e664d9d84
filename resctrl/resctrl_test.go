package resctrl

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

func TestCompile(t *testing.T) {
	env := Env{Root: "/r", ID: "web"}
	for _, tt := range []struct {
		name    string
		rdt     specs.LinuxIntelRdt
		env     Env
		want    Plan
		defects []string // the beginnings
	}{
		{"nothing but the group", specs.LinuxIntelRdt{}, env, Plan{Root: "/r", Group: "/r/web", Own: true, MayMake: true}, nil},
		{"a group that is to be there", specs.LinuxIntelRdt{ClosID: "gold"}, env, Plan{Root: "/r", Group: "/r/gold"}, nil},
		{"the default group", specs.LinuxIntelRdt{ClosID: "/", EnableMonitoring: true}, env, Plan{Root: "/r", Group: "/r", Monitor: "/r/mon_groups/web"}, nil},
		{"all", specs.LinuxIntelRdt{ClosID: "a.b", L3CacheSchema: "L3CODE:0=f\nL3DATA:0=f0\n", MemBwSchema: "MB:0=50;1=20", Schemata: []string{"L2:0=1", "MB:0=10;"}, EnableMonitoring: true}, env,
			Plan{
				Root: "/r", Group: "/r/a.b", MayMake: true, Monitor: "/r/a.b/mon_groups/web",
				Schemes: []Line{
					{"L3CODE:0=f", "linux.intelRdt.l3CacheSchema"}, {"L3DATA:0=f0", "linux.intelRdt.l3CacheSchema"}, {"MB:0=50;1=20", "linux.intelRdt.memBwSchema"},
				},
				Schemata: []Line{{"L2:0=1", "linux.intelRdt.schemata[0]"}, {"MB:0=10;", "linux.intelRdt.schemata[1]"}},
			}, nil},

		{"not mounted", specs.LinuxIntelRdt{}, Env{ID: "web"}, Plan{}, []string{"linux.intelRdt: no resctrl filesystem is mounted here"}},
		{"a path", specs.LinuxIntelRdt{ClosID: "a/b"}, env, Plan{}, []string{`linux.intelRdt.closID: "a/b" cannot be`}},
		{"up", specs.LinuxIntelRdt{ClosID: ".."}, env, Plan{}, []string{`linux.intelRdt.closID: ".." cannot be`}},
		{"here", specs.LinuxIntelRdt{ClosID: "."}, env, Plan{}, []string{`linux.intelRdt.closID: "." cannot be`}},
		{"resctrl's own", specs.LinuxIntelRdt{ClosID: "info"}, env, Plan{}, []string{`linux.intelRdt.closID: "info" cannot be`}},
		{"two lines", specs.LinuxIntelRdt{ClosID: "a\nb"}, env, Plan{}, []string{`linux.intelRdt.closID: "a\nb" cannot be`}},
		{"long", specs.LinuxIntelRdt{ClosID: strings.Repeat("x", 256)}, env, Plan{}, []string{"linux.intelRdt.closID: "}},
		{"an id that is resctrl's", specs.LinuxIntelRdt{EnableMonitoring: true}, Env{"/r", "info"}, Plan{}, []string{"linux.intelRdt.closID: missing: the container's id \"info\""}},
		{"a monitor that is resctrl's", specs.LinuxIntelRdt{ClosID: "x", EnableMonitoring: true}, Env{"/r", "info"}, Plan{}, []string{"linux.intelRdt.enableMonitoring: the container's id"}},
		{"odd lines", specs.LinuxIntelRdt{L3CacheSchema: "f", MemBwSchema: "L3:0=f", Schemata: []string{"", "L3:", "L3:0", "L3:x=1", ":0=1", "L3:0=", "MB:0=1\nL3:0=1", "L3:0=1\x00"}}, env, Plan{},
			[]string{
				"linux.intelRdt.l3CacheSchema: ", `linux.intelRdt.memBwSchema: "L3:0=f" does not start with MB:`,
				"linux.intelRdt.schemata[0]: ", "linux.intelRdt.schemata[1]: ", "linux.intelRdt.schemata[2]: ", "linux.intelRdt.schemata[3]: ",
				"linux.intelRdt.schemata[4]: ", "linux.intelRdt.schemata[5]: ", "linux.intelRdt.schemata[6]: ", "linux.intelRdt.schemata[7]: ",
			}},
		{"two lines of bandwidth", specs.LinuxIntelRdt{MemBwSchema: "MB:0=1\nL3:0=1"}, env, Plan{}, []string{"linux.intelRdt.memBwSchema: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := Compile(&tt.rdt, tt.env, &d)
			if tt.defects == nil && !reflect.DeepEqual(*got, tt.want) {
				t.Errorf("got\n%+v, want\n%+v", *got, tt.want)
			}
			ok := len(d) == len(tt.defects)
			for i := range tt.defects {
				ok = ok && strings.HasPrefix(d[i].String(), tt.defects[i])
			}
			if !ok {
				t.Errorf("defects %q, want %q", d, tt.defects)
			}
		})
	}
	if got := Compile(nil, env, nil); got != nil {
		t.Errorf("nothing is %v", got)
	}
}

func TestCompare(t *testing.T) {
	const have = "    L3:0=00ff;1=0f00\n    MB:0= 30;1=100\n"
	for _, tt := range []struct {
		line string
		same bool
	}{
		{"L3:0=ff", true},
		{"L3:1=F00;0=0xff", true},
		{"L3:0=ff;1=f00;", true},
		{"L3:0=fe", false},
		{"L3:2=ff", false},
		{"MB:0=30", true},
		{"MB:0=25;1=91", true}, // rounded up
		{"MB:0=20", false},
		{"MB:0=31", false},
		{"MB:0=1e", false}, // decimal
		{"L2:0=ff", false},
	} {
		if got := compare(tt.line, have, 10); (got == "") != tt.same {
			t.Errorf("%s: has %q", tt.line, got)
		}
	}
	if got := compare("MB:0=25", have, 0); got == "" {
		t.Error("rounded without steps")
	}
}

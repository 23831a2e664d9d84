package hooks

import (
	"reflect"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/gourd-oci/gourd/internal/defect"
)

func ptr(i int) *int { return &i }

func TestCompile(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hooks   *specs.Hooks
		want    Plan
		defects string
	}{
		{name: "none"},
		{name: "empty", hooks: &specs.Hooks{Poststop: []specs.Hook{}}},
		{
			name: "every phase in its place",
			hooks: &specs.Hooks{
				//lint:ignore SA1019 deprecated for those who write configs
				Prestart:        []specs.Hook{{Path: "/1"}},
				CreateRuntime:   []specs.Hook{{Path: "/2"}},
				CreateContainer: []specs.Hook{{Path: "/3"}},
				StartContainer:  []specs.Hook{{Path: "/4"}},
				Poststart:       []specs.Hook{{Path: "/5"}},
				Poststop:        []specs.Hook{{Path: "/6"}, {Path: "/7"}},
			},
			want: Plan{
				Prestart:        []Hook{{Path: "/1"}},
				CreateRuntime:   []Hook{{Path: "/2"}},
				CreateContainer: []Hook{{Path: "/3"}},
				StartContainer:  []Hook{{Path: "/4"}},
				Poststart:       []Hook{{Path: "/5"}},
				Poststop:        []Hook{{Path: "/6"}, {Index: 1, Path: "/7"}},
			},
		},
		{
			name: "all properties",
			hooks: &specs.Hooks{Poststop: []specs.Hook{
				{Path: "/a", Args: []string{"b", "c"}, Env: []string{"D=e"}, Timeout: ptr(5)},
				{Path: "/a", Env: []string{}, Timeout: ptr(1 << 40)},
			}},
			want: Plan{Poststop: []Hook{
				{Path: "/a", Args: []string{"b", "c"}, Env: []string{"D=e"}, HasEnv: true, Timeout: 5},
				{Index: 1, Path: "/a", Env: []string{}, HasEnv: true, Timeout: maxTimeout},
			}},
		},
		{
			name: "defects",
			hooks: &specs.Hooks{
				CreateRuntime: []specs.Hook{{}, {Path: "bin/a"}, {Path: "/a\x00"}},
				Poststop:      []specs.Hook{{Path: "/a", Timeout: ptr(0)}, {Path: "/a", Timeout: ptr(-1)}, {Path: "/a", Args: []string{"", "\x00"}, Env: []string{"\x00"}}},
			},
			defects: `config.json: hooks.createRuntime[0].path: is missing; hooks.createRuntime[1].path: "bin/a" is not absolute; ` +
				`hooks.createRuntime[2].path: "/a\x00" contains a byte 0; hooks.poststop[0].timeout: 0 is not greater than 0; ` +
				`hooks.poststop[1].timeout: -1 is not greater than 0; hooks.poststop[2].args[1]: "\x00" contains a byte 0; ` +
				`hooks.poststop[2].env[0]: "\x00" contains a byte 0`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d defect.List
			got := Compile(tt.hooks, &d)
			if tt.defects != "" {
				if err := d.Err(); err == nil || err.Error() != tt.defects {
					t.Errorf("defects\n%v, want\n%s", err, tt.defects)
				}
				return
			}
			if err := d.Err(); err != nil {
				t.Error(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzCompile(f *testing.F) {
	f.Add("/a", "b", "C=d", 1)
	f.Fuzz(func(t *testing.T, path, arg, env string, timeout int) {
		var d defect.List
		p := Compile(&specs.Hooks{Poststart: []specs.Hook{{Path: path, Args: []string{arg}, Env: []string{env}, Timeout: &timeout}}}, &d)
		if d.Err() != nil {
			return
		}
		h := p.Poststart[0]
		if !strings.HasPrefix(h.Path, "/") || strings.Contains(h.Path+arg+env, "\x00") || h.Timeout <= 0 {
			t.Errorf("accepted: %+v", h)
		}
	})
}

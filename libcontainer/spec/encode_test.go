package spec

import (
	"encoding/json"
	"reflect"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestEncodeIsReadAgain(t *testing.T) {
	zero, umask := 0, uint32(0)
	full := specs.Process{
		Terminal:    true,
		ConsoleSize: &specs.Box{Height: 1, Width: 2},
		User:        specs.User{UID: 1<<32 - 2, AdditionalGids: []uint32{}, Umask: &umask},
		Args:        []string{"a", "", "ä\"\\\n\x01\x7f\u2028</script>"},
		Env:         []string{},
		Cwd:         "/",
		Rlimits:     []specs.POSIXRlimit{{Type: "RLIMIT_CPU", Hard: 1<<64 - 1}, {}},
		OOMScoreAdj: &zero,
		Scheduler:   &specs.Scheduler{Nice: -20, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagReclaim}},
		IOPriority:  &specs.LinuxIOPriority{},
	}
	for _, want := range []specs.Process{full, {}} {
		data, err := Encode(&want)
		if err != nil {
			t.Fatal(err)
		}
		var got, std specs.Process
		if err := DecodeInto(data, &got); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v\nwant %+v", data, got, want)
		}
		// And it is JSON to others.
		if err := json.Unmarshal(data, &std); err != nil || !reflect.DeepEqual(std, want) {
			t.Errorf("encoding/json reads %s as %+v (%v)", data, std, err)
		}
	}
}

func TestEncodeMaps(t *testing.T) {
	one := uint32(1)
	want := specs.LinuxResources{
		Unified: map[string]string{"memory.high": "5\n", "": "\"", "a": ""},
		Rdma:    map[string]specs.LinuxRdma{"mlx": {HcaHandles: &one}, "a": {}},
	}
	data, err := Encode(&want)
	if err != nil {
		t.Fatal(err)
	}
	if text := `{"rdma":{"a":{},"mlx":{"hcaHandles":1}},"unified":{"":"\"","a":"","memory.high":"5\u000a"}}`; string(data) != text {
		t.Errorf("%s, want %s", data, text)
	}
	var got, std specs.LinuxResources
	if err := DecodeInto(data, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%s is read as %+v (%v)", data, got, err)
	}
	if err := json.Unmarshal(data, &std); err != nil || !reflect.DeepEqual(std, want) {
		t.Errorf("encoding/json reads %s as %+v (%v)", data, std, err)
	}
}

func TestEncodeRefusesWhatIsNotPlainData(t *testing.T) {
	for _, v := range []any{
		&struct{ M map[int]string }{map[int]string{1: "b"}}, &struct{ M map[string]any }{map[string]any{"a": 1}}, &struct{ F float64 }{1.5}, &struct{ A any }{1},
	} {
		if data, err := Encode(v); err == nil {
			t.Errorf("%T was accepted: %s", v, data)
		}
	}
}

package cli

import (
	"bytes"
	"testing"
)

func TestFilterPS(t *testing.T) {
	const table = "" +
		"UID          PID    PPID  C STIME TTY          TIME CMD\n" +
		"root           1       0  0 10:00 ?        00:00:01 /sbin/init\n" +
		"root          42       1  0 10:00 ?        00:00:00 sh -c sleep 7\n" +
		"odd\n" +
		"a b           43       1  0 10:00 ?        00:00:00 not ours\n" +
		"root          77      42  0 10:00 ?        00:00:00 sleep 7\n"
	for _, tt := range []struct {
		name, table string
		pids        []int
		want        string
		wrong       bool
	}{
		{"those of the container", table, []int{42, 77}, "" +
			"UID          PID    PPID  C STIME TTY          TIME CMD\n" +
			"root          42       1  0 10:00 ?        00:00:00 sh -c sleep 7\n" +
			"root          77      42  0 10:00 ?        00:00:00 sleep 7\n", false},
		{"none", table, nil, "UID          PID    PPID  C STIME TTY          TIME CMD\n", false},
		{"no column PID", "A B\n1 2\n", []int{2}, "", true},
		{"nothing", "", []int{2}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			err := filterPS(&b, tt.table, tt.pids)
			if (err != nil) != tt.wrong || b.String() != tt.want {
				t.Errorf("got %v\n%swant\n%s", err, b.String(), tt.want)
			}
		})
	}
}

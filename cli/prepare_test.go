package cli

import (
	"slices"
	"testing"
)

func TestCompanionPlaces(t *testing.T) {
	got := companionPlaces("gourd-prepare", "/opt/gourd/bin/gourd", "/usr/bin:.::relative:/bin")
	want := []string{
		"/opt/gourd/bin/gourd-prepare", "/usr/bin/gourd-prepare", "/bin/gourd-prepare",
		"/opt/gourd/libexec/gourd/gourd-prepare", "/usr/local/libexec/gourd/gourd-prepare", "/usr/libexec/gourd/gourd-prepare",
	}
	if !slices.Equal(got, want) {
		t.Errorf("companionPlaces = %q, want %q", got, want)
	}
}

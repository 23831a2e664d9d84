package cgroups

import (
	"maps"
	"slices"
	"strings"

	"github.com/gourd-oci/gourd/internal/defect"
)

// unified.go: files of cgroup v2 by their names (runtime-spec, "Unified").

// compileUnified turns linux.resources.unified into the files to write, in the
// order of their names. A value of several lines is written line by line, since
// a cgroup file takes one command a write; an empty one is unset.
func compileUnified(files map[string]string, d *defect.List) (early, late []Write) {
	if len(files) == 0 {
		return nil, nil
	}
	for _, file := range slices.Sorted(maps.Keys(files)) {
		from := "linux.resources.unified." + file
		controller, _, ok := strings.Cut(file, ".")
		switch {
		case strings.ContainsAny(file, "/\x00"):
			d.Add(from, "%q is a path: the key must be the name of a file of the container's own cgroup", file)
			continue
		case !ok || controller == "":
			d.Add(from, "%q is not a file of a controller, which would be CONTROLLER.PARAMETER", file)
			continue
		case file == "cgroup.procs" || file == "cgroup.threads":
			d.Add(from, "it moves processes, which is no resource of the container")
			continue
		case file == "cgroup.type":
			d.Add(from, "it takes \"threaded\" only, and a threaded cgroup takes single threads and not a container")
			continue
		}
		if isCoreFile(file) {
			controller = ""
		}
		for line := range strings.Lines(files[file]) {
			if line = strings.TrimSuffix(line, "\n"); line == "" {
				continue
			}
			w := Write{Controller: controller, File: file, Value: line, From: from}
			if isLate(file) {
				late = append(late, w)
			} else {
				early = append(early, w)
			}
		}
	}
	return early, late
}

// isCoreFile tells whether every cgroup has the file, whatever controllers are
// enabled (cgroup-v2.rst, "Core Interface Files" and "PSI").
func isCoreFile(file string) bool {
	switch file {
	case "cpu.pressure", "io.pressure", "memory.pressure", "irq.pressure":
		return true
	}
	return strings.HasPrefix(file, "cgroup.")
}

// isLate tells whether the file could stop init's own set-up.
func isLate(file string) bool {
	switch file {
	case "cgroup.freeze", "cgroup.kill":
		return true
	}
	controller, _, _ := strings.Cut(file, ".")
	return !strings.HasSuffix(file, ".pressure") && (controller == "pids" || controller == "cpu" || controller == "cpuset")
}

package spec

import (
	"strconv"
	"strings"
)

// version is an ociVersion, taken apart (semver.org, 2.0.0). Build metadata,
// which has no meaning for precedence, is dropped.
type version struct {
	major, minor, patch uint64
	pre                 string
}

// parseVersion takes a semantic version apart.
func parseVersion(s string) (v version, ok bool) {
	s, build, hasBuild := strings.Cut(s, "+")
	s, v.pre, ok = strings.Cut(s, "-")
	if hasBuild && !identifiers(build, false) || ok && !identifiers(v.pre, true) {
		return version{}, false
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return version{}, false
	}
	for i, to := range []*uint64{&v.major, &v.minor, &v.patch} {
		p := parts[i]
		if !isNumber(p) || len(p) > 1 && p[0] == '0' {
			return version{}, false
		}
		n, err := strconv.ParseUint(p, 10, 64)
		if err != nil {
			return version{}, false
		}
		*to = n
	}
	return v, true
}

// identifiers returns whether s is a list, with dots, of what semver allows in
// a pre-release (where a number has no leading zero) or in build metadata.
func identifiers(s string, preRelease bool) bool {
	for id := range strings.SplitSeq(s, ".") {
		if id == "" || preRelease && len(id) > 1 && id[0] == '0' && isNumber(id) {
			return false
		}
		for _, c := range []byte(id) {
			if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-') {
				return false
			}
		}
	}
	return true
}

func isNumber(s string) bool {
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return false
		}
	}
	return s != ""
}

// PrestartInStart returns whether prestart hooks run in `start`, before the
// process is released, rather than in `create`: so say the specs 1.0.0, 1.0.1
// and 1.0.2, and no others. 1.0.2-dev is the spec's name for what came after
// 1.0.2, where these hooks had moved to create.
func PrestartInStart(ociVersion string) bool {
	v, ok := parseVersion(ociVersion)
	return ok && v.major == 1 && v.minor == 0 && v.patch <= 2 && v.pre == ""
}

// PoststartFatal returns whether a failing poststart hook fails `start`, as
// runtime.md has it since 1.3.0; before, it is a warning. 1.3.0-dev would be
// the name of what came after 1.3.0, and counts; its release candidates,
// which came before, do not.
func PoststartFatal(ociVersion string) bool {
	v, ok := parseVersion(ociVersion)
	if !ok || v.major != 1 {
		return false
	}
	if v.minor == 3 && v.patch == 0 {
		return v.pre == "" || v.pre == "dev"
	}
	return v.minor >= 3
}

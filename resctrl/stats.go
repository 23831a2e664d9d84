package resctrl

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Stats is what a group has and uses, with the names that runc's events command
// prints. What the processor does not have is left out.
type Stats struct {
	L3CacheInfo       *CacheInfo     `json:"l3_cache_info,omitempty"`
	L3CacheSchemaRoot string         `json:"l3_cache_schema_root,omitempty"` // of the default group
	L3CacheSchema     string         `json:"l3_cache_schema,omitempty"`
	MemBwInfo         *BandwidthInfo `json:"mem_bw_info,omitempty"`
	MemBwSchemaRoot   string         `json:"mem_bw_schema_root,omitempty"`
	MemBwSchema       string         `json:"mem_bw_schema,omitempty"`
	Schemata          []string       `json:"schemata,omitempty"` // all lines of the group
	// What was counted, for each cache: in the monitoring group or, if the
	// container has none, in its group.
	MBM []Traffic   `json:"mbm_stats,omitempty"`
	CMT []Occupancy `json:"cmt_stats,omitempty"`
}

// CacheInfo is info/L3, BandwidthInfo info/MB.
type CacheInfo struct {
	CBMMask    string `json:"cbm_mask,omitempty"`
	MinCBMBits uint64 `json:"min_cbm_bits,omitempty"`
	NumCLOSIDs uint64 `json:"num_closids,omitempty"`
}

// BandwidthInfo: see CacheInfo.
type BandwidthInfo struct {
	Granularity  uint64 `json:"bandwidth_gran,omitempty"`
	DelayLinear  uint64 `json:"delay_linear,omitempty"`
	MinBandwidth uint64 `json:"min_bandwidth,omitempty"`
	NumCLOSIDs   uint64 `json:"num_closids,omitempty"`
}

// Traffic is how many bytes went from and to memory since the group was made.
type Traffic struct {
	Total uint64 `json:"mbm_total_bytes"`
	Local uint64 `json:"mbm_local_bytes"`
}

// Occupancy is how many bytes of a cache are filled.
type Occupancy struct {
	Bytes uint64 `json:"llc_occupancy"`
}

// Stats reads them. Of a group that is gone, and for a nil record, they are nil.
func (r *Record) Stats() (*Stats, error) {
	if r == nil {
		return nil, nil
	}
	own, err := os.ReadFile(schemataOf(r.Group))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the resctrl group has: %w", err)
	}
	all, err := os.ReadFile(schemataOf(r.Root))
	if err != nil {
		return nil, fmt.Errorf("read what the default resctrl group has: %w", err)
	}
	s := &Stats{
		L3CacheSchemaRoot: ofResource(string(all), "L3"), L3CacheSchema: ofResource(string(own), "L3"),
		MemBwSchemaRoot: ofResource(string(all), "MB"), MemBwSchema: ofResource(string(own), "MB"),
	}
	for line := range strings.Lines(string(own)) {
		s.Schemata = append(s.Schemata, strings.TrimSpace(line))
	}
	if dir := filepath.Join(r.Root, "info/L3"); isThere(dir) {
		mask, _ := os.ReadFile(filepath.Join(dir, "cbm_mask"))
		s.L3CacheInfo = &CacheInfo{strings.TrimSpace(string(mask)), count(dir, "min_cbm_bits"), count(dir, "num_closids")}
	}
	if dir := filepath.Join(r.Root, "info/MB"); isThere(dir) {
		s.MemBwInfo = &BandwidthInfo{count(dir, "bandwidth_gran"), count(dir, "delay_linear"), count(dir, "min_bandwidth"), count(dir, "num_closids")}
	}
	s.readCounts(r)
	return s, nil
}

// readCounts reads what was counted for each cache.
func (s *Stats) readCounts(r *Record) {
	dir := r.Monitor
	if dir == "" {
		dir = r.Group
	}
	dir = filepath.Join(dir, "mon_data")
	caches, _ := os.ReadDir(dir) // none where the processor counts nothing
	for _, c := range caches {
		cache := filepath.Join(dir, c.Name())
		if isThere(filepath.Join(cache, "llc_occupancy")) {
			s.CMT = append(s.CMT, Occupancy{count(cache, "llc_occupancy")})
		}
		if isThere(filepath.Join(cache, "mbm_total_bytes")) || isThere(filepath.Join(cache, "mbm_local_bytes")) {
			s.MBM = append(s.MBM, Traffic{count(cache, "mbm_total_bytes"), count(cache, "mbm_local_bytes")})
		}
	}
}

func isThere(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// count returns a number of the kernel's, 0 where it says that it has none now.
func count(dir, file string) uint64 {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}

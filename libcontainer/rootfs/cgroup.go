package rootfs

// LaterCgroup is Env.CgroupDir where the directory is not known before init
// runs: systemd decides where a scope is. No mount's source is empty or
// relative to nothing, so it cannot be mistaken for a path of the config.
const LaterCgroup = "\x00cgroup"

// PlaceCgroup puts dir, the container's cgroup on the host, where Compile was
// given LaterCgroup.
func (p *Plan) PlaceCgroup(dir string) {
	for i := range p.Mounts {
		m := &p.Mounts[i]
		if m.Source == LaterCgroup {
			m.Source = dir
		}
		if m.Fallback == LaterCgroup {
			m.Fallback = dir
		}
	}
}

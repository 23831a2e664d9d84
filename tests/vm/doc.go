// Command vm runs gourd's tests where they can show everything: in a virtual
// machine of its own that has a pure cgroup v2 tree, systemd as pid 1, AppArmor
// and all capabilities. It builds the machine (once, see recipe.go), puts the
// tests on a second disk, boots, and brings their results back. With --host it
// runs the same tests on this host instead.
//
// SELinux and AppArmor are not to be had together: the scripts that are for SELinux
// have a second, short boot with --full, or if they are asked for, with a policy of
// the tests' own (selinux.conf).
//
//	go run ./tests/vm            only the scripts marked [vm]: what no other machine shows
//	go run ./tests/vm --full     every script, in every way (see world.Way)
//	go run ./tests/vm --host     the same, here, without a machine
//
// It exits with 0 where all passed, 1 where a test failed, 2 where the machine
// itself did not work. It knows nothing about what the tests do, and runs
// nothing of them on the host that builds (but for --host).
package main

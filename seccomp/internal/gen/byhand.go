// byhand.go: what golang.org/x/sys does not have. The facts are the kernel's
// (the file named at each list).

package main

// call is a system call's name and its slot: the number without the
// architecture's offset (0x40000000 for x32, 4000 and 5000 for mips).
type call struct {
	name string
	slot int
}

// x32Own are the calls for which x32 has another number than x86-64
// (arch/x86/entry/syscalls/syscall_64.tbl, the lines marked x32).
var x32Own = []call{
	{"rt_sigaction", 512}, {"rt_sigreturn", 513}, {"ioctl", 514}, {"readv", 515},
	{"writev", 516}, {"recvfrom", 517}, {"sendmsg", 518}, {"recvmsg", 519},
	{"execve", 520}, {"ptrace", 521}, {"rt_sigpending", 522}, {"rt_sigtimedwait", 523},
	{"rt_sigqueueinfo", 524}, {"sigaltstack", 525}, {"timer_create", 526}, {"mq_notify", 527},
	{"kexec_load", 528}, {"waitid", 529}, {"set_robust_list", 530}, {"get_robust_list", 531},
	{"vmsplice", 532}, {"move_pages", 533}, {"preadv", 534}, {"pwritev", 535},
	{"rt_tgsigqueueinfo", 536}, {"recvmmsg", 537}, {"sendmmsg", 538}, {"process_vm_readv", 539},
	{"process_vm_writev", 540}, {"setsockopt", 541}, {"getsockopt", 542}, {"io_setup", 543},
	{"io_submit", 544}, {"execveat", 545}, {"preadv2", 546}, {"pwritev2", 547},
}

// x32Absent are the calls that x32 does not have at all (the lines of the same
// file that are marked 64 and have no x32 twin).
var x32Absent = []string{
	"_sysctl", "create_module", "epoll_ctl_old", "epoll_wait_old", "get_kernel_syms",
	"get_thread_area", "nfsservctl", "query_module", "set_thread_area", "uselib", "vserver",
}

// armPrivate are arm's own calls, __ARM_NR_BASE (0xf0000) plus the slot minus
// armPrivateSlot (arch/arm/include/uapi/asm/unistd.h).
var armPrivate = []call{
	{"breakpoint", armPrivateSlot + 1}, {"cacheflush", armPrivateSlot + 2},
	{"usr26", armPrivateSlot + 3}, {"usr32", armPrivateSlot + 4},
	{"set_tls", armPrivateSlot + 5}, {"get_tls", armPrivateSlot + 6},
}

const armPrivateSlot = 1000

// subcalls are the calls that socketcall and ipc multiplex, with the number
// that they have there: socketcall's as it is (include/uapi/linux/net.h), ipc's
// plus ipcOffset (include/uapi/linux/ipc.h).
var subcalls = []call{
	{"socket", 1}, {"bind", 2}, {"connect", 3}, {"listen", 4}, {"accept", 5},
	{"getsockname", 6}, {"getpeername", 7}, {"socketpair", 8}, {"send", 9}, {"recv", 10},
	{"sendto", 11}, {"recvfrom", 12}, {"shutdown", 13}, {"setsockopt", 14},
	{"getsockopt", 15}, {"sendmsg", 16}, {"recvmsg", 17}, {"accept4", 18},
	{"recvmmsg", 19}, {"sendmmsg", 20},

	{"semop", ipcOffset + 1}, {"semget", ipcOffset + 2}, {"semctl", ipcOffset + 3},
	{"semtimedop", ipcOffset + 4}, {"msgsnd", ipcOffset + 11}, {"msgrcv", ipcOffset + 12},
	{"msgget", ipcOffset + 13}, {"msgctl", ipcOffset + 14}, {"shmat", ipcOffset + 21},
	{"shmdt", ipcOffset + 22}, {"shmget", ipcOffset + 23}, {"shmctl", ipcOffset + 24},
}

const ipcOffset = 100

// missing are architectures that the runtime-spec names, whose kernels can run
// gourd, and for which there is no table: their 31-bit and n32 programs are
// killed under a filter, and Compile says so in a warning.
var missing = []string{"SCMP_ARCH_S390", "SCMP_ARCH_MIPS64N32", "SCMP_ARCH_MIPSEL64N32"}

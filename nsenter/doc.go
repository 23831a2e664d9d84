// Package nsenter starts a program in namespaces that it makes or joins.
//
// A Go process has several threads before its main function runs, and the
// kernel lets only a process of one thread join a user or a time namespace.
// So nsenter clones a child that is no Go program any more: one thread that
// never touches the Go stack or runtime, and does nothing but work through a
// table of system calls. The way of a Start through the files:
//
//	request.go    what the caller wants, and what of it is refused
//	compile.go    Request -> Table: which system call in which order, and why
//	              (its stages are in compile_stages.go)
//	step.go       the Table: steps and the data they point at
//	image.go      Table -> bytes, with all addresses resolved
//	interp_*.s    the clone, and the interpreter that the child is
//	stub.go       the same interpreter as a tiny ELF program, for joining
//	start.go      everything together, in the parent
//	begin.go      the same, for a child that works on while the parent does
//	converse.go   the parent's half of the conversation with the child
//	maps.go       the maps of a user namespace, written by the parent
//	self.go       the file that gourd's own init is executed from
//	immutable.go  files that can be executed and never changed
//
// What it does not do: it sets up nothing inside the namespaces (no mounts,
// no hostname, no credentials beyond becoming root of a user namespace), it
// opens no namespace by its path, and it does not wait for the child's end.
package nsenter

// The conversation
//
// Parent and child hold the two ends of a SOCK_SEQPACKET socketpair, both
// close-on-exec. The child sends messages of two words, {step, value}; the
// parent sends single bytes. The value tells what it is: -errno of a step that
// failed, or what the step's Says means.
//
//	parent (gourd)                          child (the interpreter)
//	--------------                          -----------------------
//	block signals, clone3  ---------------> born with all signals blocked
//	close the child's end                   close the parent's end
//	BeforeUnshareCgroup(pid)                |
//	write uid_map, gid_map                  | (blocks in its first read)
//	  'g' --------------------------------> read: go on
//	                                        |
//	                                        [joining: execute the stub, which
//	                                         goes on with its own table]
//	                                        join, unshare, ...
//	  [a user namespace made after joining]
//	                         <------------- {step, 0} SaysMapMe
//	write uid_map, gid_map
//	  'g' --------------------------------> read: become root of it
//	  [a pid namespace joined, ...]
//	                                        clone3(CLONE_PARENT) -> child 2
//	                         <------------- {step, pid} SaysCloned, and exit
//	reap the first child                    child 2 goes on
//	  [Request.Ready]        <------------- {step, 0} SaysReady
//	  'g' --------------------------------> read: the requester has agreed
//	                         <------------- {step, 0} SaysExec
//	                                        give the signal mask back
//	                                        execveat
//	end of file            <--------------- (the kernel closes the child's end)
//	look whether it is alive or was executed
//
// The child of Begin has steps of its own behind the joining and the making. It sends
// {step, 0} SaysOwn by Tail.Say, and reads a byte by Tail.Await, as the two have
// agreed; its end of the file means what it does above.
//
// A step that fails, the execveat included, sends {step, -errno}, and the
// child exits. The child that is killed says nothing: the end of file without
// SaysExec before it is an error, and so is a child that a signal has killed
// between SaysExec and the execveat. A parent that dies closes its end: the
// child's read sees the end of the file, and the child exits.

/* The guest's stops (ptrace(2)): signals, threads, exec, job control, and calls by stops alone. */
#ifndef TRACER_TRAP_PTRACE_H
#define TRACER_TRAP_PTRACE_H

#include "trap.h"

/* Calls answered in the stop that the filter's SECCOMP_RET_TRACE makes. */
extern const struct trap_ops trap_ptrace;

/* ptrace_attach() - supervise a child that has not run yet, and all that it will make. 0 or -errno.
 */
int ptrace_attach(pid_t tid);

/* ptrace_is_ours() - the thread is one that reports to us, and its end has not been reported yet.
 */
bool ptrace_is_ours(pid_t tid);

/* ptrace_event() - what waitpid(2) said of a thread. False when it is not one of the guest's. */
bool ptrace_event(struct tracer *tr, pid_t tid, int status);

#endif

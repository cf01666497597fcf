/* The run as its parent sees it: signals that come to us, and the terminal's job control. */
#ifndef TRACER_JOB_H
#define TRACER_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdnoreturn.h>
#include <sys/types.h>

struct tracer;

/* What of signals the guest inherits, and we do not keep. */
struct job_signals {
	sigset_t mask;
	struct sigaction child; /* SIGCHLD's: ignored, it would hide the ends of our children */
};

/* job_start() - from here on our signals are read in the loop. 0 or -errno. */
int job_start(struct tracer *tr, struct job_signals *inherited);

/* job_restore() - in the child, before it executes the program. */
void job_restore(const struct job_signals *inherited);

/* job_kill() - send a signal to the guest: to the program, or when that has ended to all that is
 * left. */
void job_kill(struct tracer *tr, int sig);

/* job_guest_signal() - a signal is about to be delivered to a thread of the guest. */
void job_guest_signal(struct tracer *tr, pid_t tid, int sig);

/* job_guest_stopped() - a thread of the guest has been stopped by job control. */
void job_guest_stopped(struct tracer *tr, pid_t tid, int sig);

/* job_end() - end as the guest did: its exit status, or the same signal. Does not return. */
noreturn void job_end(int status);

#endif

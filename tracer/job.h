/* The run as its parent sees it: signals that come to us, and the terminal's job control. */
#ifndef TRACER_JOB_H
#define TRACER_JOB_H

#include <signal.h>
#include <stdbool.h>
#include <stdnoreturn.h>
#include <sys/types.h>

struct tracer;

/* job_start() - from here on our signals are read in the loop. old: the mask that the guest gets.
 */
int job_start(struct tracer *tr, sigset_t *old);

/* job_guest_signal() - a signal is about to be delivered to a thread of the guest. */
void job_guest_signal(struct tracer *tr, pid_t tid, int sig);

/* job_guest_stopped() - a thread of the guest has been stopped by job control. */
void job_guest_stopped(struct tracer *tr, pid_t tid, int sig);

/* job_end() - end as the guest did: its exit status, or the same signal. Does not return. */
noreturn void job_end(int status);

#endif

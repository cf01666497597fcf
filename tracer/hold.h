/* Signals held back until a call is answered: for architectures on which the kernel has already
 * decided, when a signal's stop comes, that an interrupted call fails with EINTR. */
#ifndef TRACER_HOLD_H
#define TRACER_HOLD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define HOLD_MAX 4 /* different signals at once; one more interrupts the call */

struct held {
	siginfo_t info;
	bool sent; /* again, and not yet delivered */
};

struct hold {
	struct held held[HOLD_MAX];
	unsigned n;
};

/* hold_signal() - keep the signal that the thread, in the stop before its delivery, would be given.
 * True: resume the thread without it. False: it has no handler, or there is no room; deliver it. */
bool hold_signal(struct hold *h, pid_t tid, int sig);

/* hold_release() - the call is answered: send what was held. */
void hold_release(struct hold *h, pid_t tgid, pid_t tid);

/* hold_delivery() - a signal is about to be delivered: one that was held gets its own siginfo back.
 */
void hold_delivery(struct hold *h, pid_t tid, int sig);

#endif

/* A call run with another argument: scratch memory in the guest, and the way through the stops. */
#ifndef TRACER_REWRITE_H
#define TRACER_REWRITE_H

#include "trap.h"

/* rewrite_at_stop() - the thread of a CALL_STOPPING call was interrupted out of it and stands
 * still: change the argument and send it in again. False: it stands elsewhere, or cannot be
 * changed; the caller resumes it. */
bool rewrite_at_stop(struct call *c);

/* rewrite_at_entry() - the same for a thread stopped at the entry of the call by its filter; it is
 * resumed either way. */
void rewrite_at_entry(struct call *c);

/* rewrite_entered() - with stops: the thread of a CALL_ENTERING call stands at its entry again. It
 * is resumed. */
void rewrite_entered(struct call *c);

/* rewrite_mapped() - the thread of a CALL_MAPPING call stands at the exit of the mmap: send it into
 * the call itself. It is resumed. */
void rewrite_mapped(struct call *c);

/* rewrite_over() - the call has returned, or a signal came before it began: put the guest's own
 * argument back. The thread stands still and is not resumed. */
void rewrite_over(struct call *c);

/* rewrite_release() - the call's scratch memory, if it has any, is free for others; also when its
 * thread has gone away, or executes another program. */
void rewrite_release(struct call *c);

#endif

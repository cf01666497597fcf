/* Calls by seccomp user notification (seccomp_unotify(2)). */
#ifndef TRACER_TRAP_NOTIFY_H
#define TRACER_TRAP_NOTIFY_H

#include "trap.h"

extern const struct trap_ops trap_notify;

/* notify_start() - serve the listener, which becomes the tracer's. 0 or -errno. */
int notify_start(struct tracer *tr, int listener);

#endif

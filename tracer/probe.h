/* What the kernel, and whoever confines us, allow: asked by trying, never read from a version. */
#ifndef TRACER_PROBE_H
#define TRACER_PROBE_H

#include <stdbool.h>

#include "log.h"

enum feature {
	FEATURE_PIDFD_GETFD,    /* 5.6; some container profiles deny it */
	FEATURE_PROCESS_VM,     /* 3.2; some container profiles deny it */
	FEATURE_USER_NOTIF,     /* 5.0 */
	FEATURE_ADDFD_SEND,     /* 5.14 */
	FEATURE_SYNC_WAKE_UP,   /* 6.6 */
	FEATURE_SOCK_DIAG,      /* INET_DIAG */
	FEATURE_ERESTARTNOINTR, /* a signal's stop comes before the kernel decides on EINTR */
	FEATURE_MAX,
};

/* probe_disabled() - the environment takes the feature away (feature.h). */
bool probe_disabled(enum feature f);

/* probe_needed() - everything that no engine can do without is there: 0, or -ENOSYS and e. */
int probe_needed(struct err *e);

/* probe_user_notif() - seccomp can answer calls by notification. */
bool probe_user_notif(void);

/* probe_addfd_send() - the listener can install a descriptor and answer in one step. */
bool probe_addfd_send(int listener);

#endif

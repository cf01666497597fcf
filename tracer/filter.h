/* From the table of system calls to the guest's seccomp filter. */
#ifndef TRACER_FILTER_H
#define TRACER_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

#include "config.h"

/* filter_build() - the program that traps the rows the configuration switches on: by user
 * notification, or by a stop of ptrace. The instructions are the caller's to free(). 0, or -errno
 * of libseccomp.
 *
 * 32-bit calls of a 64-bit kernel are let through as they are: a 32-bit program runs as without us.
 * x32 calls do not exist (ENOSYS), as on a kernel without them. */
int filter_build(const struct config *cfg, bool notify, struct sock_fprog *program);

#endif

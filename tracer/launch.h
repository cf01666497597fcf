/* From the command line to the guest's first instruction. */
#ifndef TRACER_LAUNCH_H
#define TRACER_LAUNCH_H

#include <limits.h>

#include "log.h"

struct tracer;

/* launch() - start the program under the engine that the configuration and the kernel allow. The
 * program may yet fail to execute: tracer's exec_errno says so when it has ended. 0, or -errno and
 * e. */
int launch(struct tracer *tr, struct err *e);

/* launch_search() - a program whose name has no slash, in the directories of PATH, as execvp(3)
 * searches: 0 and path, or -errno. */
int launch_search(const char *program, char path[static PATH_MAX]);

/* launch_find() - the program can be found and executed: 0, else 126 or 127 and e, as execvp(3)
 * would fail. */
int launch_find(const char *program, struct err *e);

#endif

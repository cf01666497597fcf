/* The program's environment: the target's, as the options want it, over that of this machine.
 *
 * The target's is taken without what belongs to the target's own system (the list is in environ.c),
 * and by --env-include or --env-exclude. Then come, each over the former, --env-file, --env-map for
 * what there is so far, and --env. What the developer's own environment has under other names
 * stays, but for --env-unset. No value is ever shown. */
#ifndef TRACER_ENVIRON_H
#define TRACER_ENVIRON_H

#include <stddef.h>

#include "config.h"
#include "log.h"

/* More variables than this are refused: the kernel would (execve(2), E2BIG). */
#define ENVIRON_VARS_MAX 65536

/* The longest --env-file. */
#define ENVIRON_FILE_MAX (1u << 20)

/* environ_make() - local ends with NULL; remote is n bytes of /proc/PID/environ. 0 and *made, for
 * environ_free(); or -errno and e, which names the option, or the file and the line. */
int environ_make(char ***made, char *const *local, const char *remote, size_t n,
	const struct config *cfg, struct err *e);
void environ_free(char **env); /* NULL is fine */

#endif

/* What the agent tells of its target before the guest starts: whom it runs as, its names, what is
 * mounted in it, and its environment. */
#ifndef TRACER_CONTEXT_H
#define TRACER_CONTEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "log.h"

struct msg;
struct tracer;

/* What is kept of what an agent tells. */
#define CONTEXT_MOUNTS_MAX  1024
#define CONTEXT_ENVIRON_MAX (8u << 20) /* no program was started with more (execve(2)) */

/* As uname(2) has them (struct utsname). */
#define CONTEXT_NAME_SIZE 65

struct context {
	uint32_t uid, gid;
	bool has_files; /* false: the target is a namespace */
	char nodename[CONTEXT_NAME_SIZE], domainname[CONTEXT_NAME_SIZE];
	const char **mounts; /* absolute paths; ends with NULL */
	char *mounts_text;   /* where they stand */
	struct buf environ;  /* NAME=VALUE, each with a zero byte */
	int environ_error;   /* errno: it could not be read */
	bool awaits_context, awaits_environ;
	bool complete;
};

/* context_get() - ask for it, the environment only if the configuration wants it, and wait; the
 * link is open. 0, or -errno and e. */
int context_get(struct context *cx, struct tracer *tr, struct err *e);
void context_done(struct context *cx);

/* context_message() - context or environ of the agent. */
void context_message(struct context *cx, const struct msg *m);

#endif

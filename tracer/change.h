/* Calls that change the tree of files, or what is known of a file beside its content. The agent
 * does it to the target's file first; what it did is then done to the copies. What was written to a
 * file before is on the link before, so the times that utimensat(2) sets are not those of a later
 * write. */
#ifndef TRACER_CHANGE_H
#define TRACER_CHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto.h"

struct call;

/* What a call changes, in the form of its newest variant. */
struct change {
	enum file_op op;
	uint64_t dirfd;
	unsigned path;     /* which argument that is */
	bool is_fd;        /* there is none: dirfd is the file itself */
	uint64_t to_dirfd; /* of rename and link */
	unsigned to_path;
	uint64_t flags;   /* AT_* */
	uint64_t a, b;    /* of file_op */
	const char *text; /* of a symbolic link; an attribute's name, zero, value */
	size_t text_len;
};

/* change_do() - one verb or another ends the call (trap.h), or it waits for the agent. */
void change_do(struct call *c, const struct change *ch);

#endif

/* Files that were made without a name (O_TMPFILE) beside the copies of a directory, and get one. */
#ifndef TRACER_UNNAMED_H
#define TRACER_UNNAMED_H

#include <stdbool.h>

struct call;
struct tree;

/* unnamed_is() - fd, which has no name that is known, is of such a file. */
bool unnamed_is(const struct tree *t, int fd);

/* unnamed_link() - the call gives it a name in the target, which is there already (EEXIST), or is
 * made; the call is ended or parked. fd, which may be O_PATH, is taken. */
void unnamed_link(struct call *c, int fd, const char *path);

#endif

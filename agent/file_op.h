/* file_op: what is done with a path without opening a file. */
#ifndef AGENT_FILE_OP_H
#define AGENT_FILE_OP_H

#include "mux.h"
#include "target.h"

/* file_op() - do it and answer with file_done. 0, or -EPROTO when no honest client asks that. */
int file_op(struct mux *mux, const struct target *t, const struct msg *m);

#endif

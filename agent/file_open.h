/* file_open: open a file of the target's and send what is wanted of it. */
#ifndef AGENT_FILE_OPEN_H
#define AGENT_FILE_OPEN_H

#include "handle.h"

/* file_open() - answer the message. 0, or -EPROTO when no honest client sends it. */
int file_open(struct loop *loop, struct mux *mux, const struct target *t, struct handles *h,
	const struct msg *m);

#endif

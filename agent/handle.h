/* Files that a client has open for writing, by its ids. What it sends for one is done at once and
 * in its order. */
#ifndef AGENT_HANDLE_H
#define AGENT_HANDLE_H

#include "htab.h"
#include "mux.h"
#include "target.h"

/* More than a process has descriptors (RLIMIT_NOFILE is 1024 mostly); the next gets EMFILE. */
#define HANDLES_MAX 4096

struct handles {
	struct htab table;
	struct mux *mux;
	const struct target *target;
};

void handles_init(struct handles *h, struct mux *mux, const struct target *t);
void handles_done(struct handles *h);

/* handle_add() - fd is taken. 0; -EMFILE, -ENOMEM, and fd is still the caller's. */
int handle_add(struct handles *h, uint32_t id, int fd);

bool handle_is_open(const struct handles *h, uint32_t id);

/* handle_message() - file_write, file_truncate, file_sync or file_close. For an unknown handle only
 * file_sync is answered, with EBADF. */
void handle_message(struct handles *h, const struct msg *m);

#endif

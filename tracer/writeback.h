/* Writing to the target's files: the guest writes to its copies, and what it changed there is sent
 * to the agent before anything that the guest says later on the link.
 *
 * The order of work is the guarantee. inotify(7) queues IN_MODIFY inside the guest's write(2); a
 * byte that the guest sends after that write reaches us later. So before any message of the guest's
 * is queued for the link, the queue of inotify is drained, and what changed is queued first. */
#ifndef TRACER_WRITEBACK_H
#define TRACER_WRITEBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "list.h"
#include "loop.h"
#include "proto.h"

struct call;
struct tracer;
struct tree_node;

struct writeback {
	struct tracer *tracer;
	struct watch watch; /* of inotify */
	struct list files;  /* opened for writing */
	bool failed;        /* something the guest wrote did not reach the target: that was said */
};

int writeback_init(struct writeback *w, struct tracer *tr);
void writeback_done(struct writeback *w);

/* writeback_opened() - the guest is about to get a descriptor for writing to the copy behind
 * path_fd, whose canonical path is `path`, for people; handle: the agent's, which is ours from here
 * on. append: O_APPEND. 0 or -errno (then the handle is closed). */
int writeback_opened(struct writeback *w, struct tree_node *node, int path_fd, const char *path,
	uint32_t handle, bool append);

/* writeback_before_send() - what the guest has changed so far goes on the link first (mux.h). */
void writeback_before_send(struct writeback *w);

/* writeback_has_unsent() - the copy is newer than the target's file: what the agent says about its
 * size, times and content is old. */
bool writeback_has_unsent(const struct tree_node *node);

/* writeback_sync() - a barrier for the copy behind fd (-1: for all of them): the call is answered
 * with 0, or the failure, when the agent has it all, mapped memory included. False: the descriptor
 * is none of ours, and the call was left alone. */
bool writeback_sync(struct writeback *w, struct call *c, int fd);

/* writeback_exec_or_exit() - a process that may have mapped copies is ending. */
void writeback_process_ends(struct writeback *w);

/* writeback_is_sending() - the agent does not have it all yet. After the guest has ended,
 * writeback_finish() begins the last barrier. */
void writeback_finish(struct writeback *w);
bool writeback_is_sending(const struct writeback *w);

/* writeback_message() - file_failed. */
void writeback_message(struct writeback *w, const struct msg *m);
void writeback_link_lost(struct writeback *w);

#endif

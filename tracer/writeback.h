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

#include "htab.h"
#include "list.h"
#include "loop.h"
#include "proto.h"
#include "remote.h"

/* While the guest keeps writing, and says nothing, it is looked at so often. */
#define WRITEBACK_PACE_MS 10

/* A file of this size or less is compared as a whole whenever it was changed. In a larger one that
 * grew only what was added is sent at once; whether it was changed in place as well is found out
 * later: a second, and 4 ns per byte of it; by a barrier; or when it is closed. */
#define WRITEBACK_EXACT    (1u << 20)
#define WRITEBACK_LATER_NS 1000000000u
#define WRITEBACK_BYTE_NS  4

/* What is compared in one turn of the loop. */
#define WRITEBACK_TURN (4u << 20)

/* Files that were closed are remembered for so long, in case that the agent has failed to write. */
#define WRITEBACK_RECORDS_MAX 1024

struct call;
struct tracer;
struct tree_node;

struct writeback {
	struct tracer *tracer;
	struct watch watch;   /* of inotify; fd -1: not in use */
	struct list files;    /* opened for writing */
	struct list changed;  /* those of them that have something to be looked at */
	struct htab by_watch; /* files by watch descriptor */
	struct timer pace;
	struct deferred tidy; /* files that may be over */
	struct list records;  /* what was written to, the oldest first */
	unsigned nrecords;
	uint64_t passes; /* how many were given a place on the link, ever */
	bool failed;     /* something the guest wrote did not reach the target: that was said */
	bool finishing, finished;
	bool asked; /* whether the agent has it all */
	struct remote_query last;
};

int writeback_init(struct writeback *w, struct tracer *tr);

/* writeback_done() - what failed is said once more. Idempotent. */
void writeback_done(struct writeback *w);

/* writeback_opened() - the guest is about to get a descriptor for writing to the copy behind
 * path_fd, whose canonical path is `path`, for people; handle: the agent's, which is ours from here
 * on. want: as in the file_open; with FILE_TRUNC the target's file is empty, and what the copy has
 * is sent. 0 or -errno (then the handle is closed). */
int writeback_opened(struct writeback *w, struct tree_node *node, int path_fd, const char *path,
	uint32_t handle, uint32_t want);

/* writeback_before_send() - what the guest has changed so far goes on the link first (mux.h). */
void writeback_before_send(struct writeback *w);

/* writeback_mark() - of the moment at which the agent was asked for content. writeback_take() - its
 * answer to that, the first `size` bytes of what is behind `content`: the copy gets what the target
 * has changed. Not what is older than what the guest has written meanwhile; but a copy that has no
 * content yet gets its own. 1: the copy is as the target's file; 0: it is not; or -errno. */
uint64_t writeback_mark(const struct writeback *w);
int writeback_take(struct tree_node *node, int content, uint64_t size, uint64_t mark);

/* writeback_is_idle() - no file is open for writing; also before writeback_init(). */
static inline bool writeback_is_idle(const struct writeback *w)
{
	return !w->tracer || list_empty(&w->files);
}

/* writeback_sync() - a barrier for the copy behind fd (-1: for all of them): the call is answered
 * with 0, or the failure, when the agent has it all, mapped memory included; with -1 the kernel
 * does the call then. False: there is nothing of ours behind fd, and the call was left alone. */
bool writeback_sync(struct writeback *w, struct call *c, int fd);

/* writeback_truncate() - ftruncate(2) of the copy behind fd, in *result 0 or -errno, for a file
 * that is only added to: what was added is found by its size, which would not tell. False: it is
 * none, and was left alone. */
bool writeback_truncate(struct writeback *w, int fd, uint64_t size, int *result);

/* writeback_process_ends() - a process that may have mapped copies is ending, or executes another
 * program. */
void writeback_process_ends(struct writeback *w);

/* writeback_is_sending() - the agent does not have it all yet. After the guest has ended,
 * writeback_finish() begins the last barrier. As long as the link makes progress (mux.sent) it is
 * worth waiting for. */
void writeback_finish(struct writeback *w);
bool writeback_is_sending(const struct writeback *w);

/* writeback_message() - file_failed. */
void writeback_message(struct writeback *w, const struct msg *m);

/* writeback_link_broken() - the handles are gone; on a new link, which may come, the files are
 * opened again. writeback_link_lost() - none will come: what was not sent will not be. */
void writeback_link_broken(struct writeback *w);
void writeback_link_lost(struct writeback *w);

#endif

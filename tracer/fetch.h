/* One question to the agent that opens a file in the target, and what comes of it put into the
 * tree: the copy, its content, its entries. */
#ifndef TRACER_FETCH_H
#define TRACER_FETCH_H

#include "loop.h"
#include "remote.h"
#include "tree.h"

struct call;
struct fs;

/* What is older by the time when it has come is asked for again, at most so often. */
#define FETCH_REPEATS 8

/* To which copies ways led that are not canonical, by hashes of both the path and its place. */
#define FETCH_WAYS 512
struct fetch_way {
	uint64_t hash, ino;
};

struct fetch {
	struct remote_query query;
	struct fs *fs;
	unsigned repeated;
	uint32_t want; /* enum file_want */
	uint64_t from;
	uint64_t way;  /* the hash of the path that was asked for */
	uint16_t base; /* file_open's */
	bool watched;  /* of a directory: see struct tree_listing */
	const char *moved;
	/* Once, when all is there or error, a positive errno, says why it is not. */
	void (*done)(struct fetch *f, int error);
	/* What was found; when there is no error. */
	int copy;   /* O_PATH */
	char *path; /* canonical */
	struct file_attr attr;

	struct tree_content content;
	struct tree_listing listing;
	uint64_t mark; /* writeback_mark() */
	int failed;    /* errno of ours while it came */
};

/* fetch_init() - before anything else; f is all zero otherwise. */
void fetch_init(struct fetch *f, struct fs *fs, void (*done)(struct fetch *f, int error));

/* fetch_start() - ask with file_open (remote_open()), with the version that the copy of path has.
 * With FILE_WRITE the agent's handle is f->query.id, and fetch_close_handle()'s to close unless it
 * is given to writeback.h. 0 or -errno; done() is not called from here. */
int fetch_start(struct fetch *f, uint32_t want, uint32_t mode, uint64_t from, const char *path);
void fetch_close_handle(struct fetch *f);

/* fetch_drop() - the answer is not wanted: done() will not be called; the handle is closed. */
void fetch_drop(struct fetch *f);

/* fetch_release() - forget what was found; f may be started again. */
void fetch_release(struct fetch *f);

/* A call that waits for what is fetched; embedded first in what a handler keeps of it, which is on
 * the heap. */
struct fetch_call {
	struct fetch fetch;
	struct call *call;
	void (*fetched)(struct fetch_call *w, int error); /* as done() */
	void (*freed)(struct fetch_call *w);              /* what else it owns; or NULL */
	struct deferred release;
};

/* fetch_call_new() - NULL: no memory, the call is answered. */
void *fetch_call_new(struct call *c, size_t size, void (*fetched)(struct fetch_call *w, int error),
	void (*freed)(struct fetch_call *w));

/* fetch_call_start() - fetch_start(), and park the call. fetched() may be called from here. */
void fetch_call_start(
	struct fetch_call *w, uint32_t want, uint32_t mode, uint64_t from, const char *path);

/* fetch_call_end() - there is no more to be fetched: the call, that one of its verbs is to end now.
 * w lives until the end of the loop's turn. */
struct call *fetch_call_end(struct fetch_call *w);

#endif

/* The target's files, asked of the agent: each question is answered once, by a call of its
 * functions, never before the function that asked has returned. The content of a file and the
 * entries of a directory come on a channel of their own, with credit (mux.h).
 *
 * When the link is lost every question is answered with EIO and every handle is gone, unless a new
 * link may come (link_may_return()): then questions are asked again, and handles are gone all the
 * same. EIO is the answer even then to what would not do the same a second time (a change, an
 * exclusive creation), to a sync, and to what was half answered.
 *
 * The agent is not believed: an answer that is none, a path that is not canonical, bytes where no
 * file can have any, a name that is not one, end the link. */
#ifndef TRACER_REMOTE_H
#define TRACER_REMOTE_H

#include <stdbool.h>
#include <stdint.h>

#include "htab.h"
#include "mux.h"
#include "proto.h"

struct tracer;
struct remote_query;

/* What the agent found at a path. Strings live during the call. */
struct remote_found {
	const struct file_attr *attr;
	uint64_t version;
	uint64_t writes;  /* tree.writes when it was asked */
	const char *path; /* canonical, terminated */
	const char *more; /* a link's text, an attribute's value, …; terminated, may hold zeros */
	size_t more_len;
	enum file_content content;
};

struct remote_ops {
	/* error: 0 or a positive errno, then f is NULL. With FILE_BYTES or FILE_ENTRIES the rest
	 * follows and end() is the last call; otherwise this is the last one. */
	void (*found)(struct remote_query *q, int error, const struct remote_found *f);
	void (*data)(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n);
	void (*entry)(struct remote_query *q, const struct file_attr *attr, const char *name,
		size_t name_len, const char *link, size_t link_len);
	void (*end)(struct remote_query *q, int error, uint64_t size, uint64_t version);
};

/* Embedded in whatever the asker keeps, zero at first; opaque but for `ops`, `base` and `id`. It
 * may be freed from within the last call of its functions on. */
struct remote_query {
	const struct remote_ops *ops;
	struct remote *remote;
	struct hnode node; /* by id */
	struct list link;  /* by age */
	struct channel ch;
	uint32_t id;
	uint16_t base;             /* file_open's, from the asker */
	enum file_content follows; /* after found() */
	bool found;
	bool asked;      /* on this link */
	uint64_t writes; /* tree.writes then */
	struct msg msg;  /* what was asked, for a new link */
	char *text;      /* its bytes */
};

struct remote {
	struct tracer *tracer;
	struct htab queries; /* those answered by message, by id */
	struct list all;
};

void remote_init(struct remote *r, struct tracer *tr);
void remote_done(struct remote *r);

/* remote_open() - ask with file_open (want: enum file_want). With FILE_WRITE the handle, if found()
 * says 0, is q->id. 0 or -errno, and then nothing was asked: -EIO: there is no link. */
int remote_open(struct remote *r, struct remote_query *q, uint32_t want, uint32_t mode,
	uint64_t known, uint64_t from, const char *path);

/* remote_op() - ask with file_op. second: n bytes that follow the path. 0 or -errno; -E2BIG: more
 * than a message holds. */
int remote_op(struct remote *r, struct remote_query *q, enum file_op op, uint32_t flags, uint64_t a,
	uint64_t b, const char *path, const void *second, size_t n);

/* remote_sync() - ask with file_sync of a handle: found() is called with its first failure since
 * the last one, or 0 and the attributes. */
int remote_sync(struct remote *r, struct remote_query *q, uint32_t handle);

/* remote_drop() - the answer is not wanted any more: none of its functions will be called. A handle
 * that was not answered yet is closed. */
void remote_drop(struct remote_query *q);

/* remote_message() - file_done, file_synced. False: it answers nothing that is asked, which is in
 * order: that may have been dropped. */
bool remote_message(struct remote *r, const struct msg *m);

/* remote_link_lost() - for good. remote_link_back() - there is a new link. */
void remote_link_lost(struct remote *r);
void remote_link_back(struct remote *r);

#endif

/* What the target's file has of a copy that the guest writes to, and passes over the copy that send
 * what it lacks.
 *
 * Nobody tells which bytes of a file were changed. So a hash is kept of each block as it was sent,
 * and a pass reads the blocks and sends those that have another one now. Block and hash are made of
 * the same bytes, read once: what is torn by a write under way has a hash of its own, and the next
 * pass finds it changed. Sequential writers grow their file; a pass may begin at the old end. */
#ifndef TRACER_SENT_H
#define TRACER_SENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <xxhash.h>

#include "mux.h"

#define SENT_BLOCK PROTO_DATA_MAX

/* A larger file cannot be written to: 16 bytes are kept for each block. */
#define SENT_FILE_MAX (UINT64_C(64) << 30)

struct sent {
	uint32_t handle; /* the agent's */
	bool append;     /* what is beyond the end goes to whatever end the file has there */
	bool blind;      /* what the file had is not in the copy: it is only added to, and no
			    hashes are kept */
	bool cut;        /* somebody has cut the file meanwhile, to `left` bytes if it had more */
	bool unsure;     /* something was sent since this was last set to false */
	bool news;       /* the same, of another asker */
	uint64_t size;   /* of the target's file, as we have left it */
	uint64_t sure;   /* of that, what is known to have arrived */
	XXH128_hash_t *hash;
	size_t nhash;
	uint64_t left;
};

struct sent_pass {
	int fd;           /* of the copy, for reading */
	uint64_t at, end; /* what is still to be compared */
	uint64_t data;    /* before it there is nothing but a hole, unless it is below `at` */
};

/* sent_know() - the target's file is known to have the first `size` bytes of the copy behind fd. 0
 * or -errno. */
int sent_know(struct sent *s, int fd, uint64_t size);
void sent_done(struct sent *s);

/* sent_take() - the other way: the target's file has the first `size` bytes of what is behind
 * content, after all that was sent. What differs is written to the copy, which is open for both.
 * Blocks that the guest has changed since they were sent stay, and so does its size; with `blind`
 * it is for the caller to know that the guest has changed nothing there. 0 or -errno.
 * sent_fill() - only these bytes of it, and the copy's size stays. */
int sent_take(struct sent *s, int copy, int content, uint64_t size);
int sent_fill(struct sent *s, int copy, int content, uint64_t size);

/* sent_sure() - all that was sent has arrived. */
static inline void sent_sure(struct sent *s)
{
	s->unsure = false;
	s->sure = s->size;
}

/* The target's file as it comes, held against what was sent. */
struct sent_check {
	int fd;      /* of the copy, for reading */
	uint64_t at; /* of the block that is coming */
	size_t n;    /* bytes of it so far */
	bool differs;
	uint8_t block[SENT_BLOCK];
};

/* sent_check_from() - where what is to be compared begins. sent_check_data() - n bytes of it, with
 * growing offsets and nothing but zeros between. sent_check_end() - all has come, and the file has
 * that size. True: it is as we have left it, but for what was on its way to its end and has not
 * arrived; that is counted as not sent from here on. */
uint64_t sent_check_from(const struct sent *s);
void sent_check_data(
	struct sent_check *c, struct sent *s, uint64_t offset, const uint8_t *p, size_t n);
bool sent_check_end(struct sent_check *c, struct sent *s, uint64_t size);

/* sent_begin() - a pass over the copy behind fd; all: over the whole of it, not only over what was
 * added. 0 or -errno. It and sent_step() send by mux_source_send(). */
int sent_begin(struct sent *s, struct sent_pass *p, struct mux *mux, int fd, bool all);

/* sent_step() - one block more. 1: there may be more; 0: the pass is over; -errno: it is, too. */
int sent_step(struct sent *s, struct sent_pass *p, struct mux *mux);

/* sent_cut() - the copy was cut to that size, and may have got more since. */
void sent_cut(struct sent *s, uint64_t size);

#endif

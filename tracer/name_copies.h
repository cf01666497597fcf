/* The files of name resolution in the tree: copies of the target's resolv.conf, hosts and
 * host.conf, and an nsswitch.conf made here that asks nobody but them and the name server. What the
 * first two say is told to names.h.
 *
 * What the agent said of one of them is believed for NAMES_FRESH_MS, and as long as there is no
 * link. */
#ifndef TRACER_NAME_COPIES_H
#define TRACER_NAME_COPIES_H

#include <stdbool.h>

#include "fetch.h"

#define NAMES_FRESH_MS 1000

/* Of a longer file only so much is understood. */
#define NAMES_TEXT_MAX (1u << 20)

struct fs;
struct names;

struct name_copy {
	struct fs *fs;
	const char *path;                                             /* as programs know it */
	void (*learn)(struct names *n, const char *text, size_t len); /* or NULL */
	char *canonical;     /* where the copy is; NULL: none was found */
	uint64_t asked_ns;   /* when the agent said that */
	uint64_t fetched_ns; /* and when the content came */
	uint64_t ino;        /* what was learned last: of that copy, */
	uint32_t fills;      /* and of how many contents it has had; ino 0: of none */
	struct fetch fetch;  /* of our own */
	bool fetching;
};

enum name_copy_id {
	NAME_COPY_RESOLV_CONF,
	NAME_COPY_HOSTS,
	NAME_COPY_HOST_CONF,
	NAME_COPY_MAX,
};

struct name_copies {
	struct fs *fs; /* NULL: names are not the target's */
	struct name_copy file[NAME_COPY_MAX];
	char *nsswitch;
	struct file_attr nsswitch_attr; /* with the text's length for its size */
};

/* name_copies_start() - the tree and the link are open. 0 or -ENOMEM. */
int name_copies_start(struct name_copies *nc, struct fs *fs);
void name_copies_done(struct name_copies *nc);

/* name_copies_ask() - names shall be told what the files say now. */
void name_copies_ask(struct name_copies *nc);

/* name_copies_find() - the file of that normalised path, or NULL. */
struct name_copy *name_copies_find(struct name_copies *nc, const char *path);

/* name_copies_made() - path is the file that is made here: 1, and the copy is there; 0: it is
 * another; -errno. */
int name_copies_made(struct name_copies *nc, const char *path);

/* name_copy_at() - the copy, if the agent need not be asked: an O_PATH descriptor, the caller's, or
 * -1. content: it shall not be older than the attributes. */
int name_copy_at(const struct name_copy *f, bool content);

/* name_copy_take() - the same as if it had been fetched for reading: false when it has to be. */
bool name_copy_take(const struct name_copy *f, struct fetch *fetch);

/* name_copy_told() - the agent has said that the file is at this canonical path. */
void name_copy_told(struct name_copy *f, const char *canonical);

/* name_copy_fetched() - it was fetched for reading, or error, a positive errno, says why not. */
void name_copy_fetched(struct name_copy *f, const struct fetch *fetch, int error);

#endif

/* The content of a file, or the entries of a directory, on their way to the client: as the channel
 * has room, never all at once in memory. */
#ifndef AGENT_CONTENT_H
#define AGENT_CONTENT_H

#include <dirent.h>

#include "file.h"
#include "mux.h"
#include "target.h"

struct content {
	struct channel ch;
	struct loop *loop;
	struct deferred release;
	const struct target *target;
	int (*step)(struct content *c, size_t room);
	int fd;   /* of a file; -1 */
	DIR *dir; /* of a directory, or NULL */
	uint64_t version;
	uint64_t from, offset;
	bool sparse;
};

/* content_open() - a channel with that id, with nothing on it yet. NULL and *error: -EEXIST,
 * -EMFILE, -ENOMEM, -ENOTCONN. It lives until content_send() has sent everything, or the channel is
 * reset. */
struct content *content_open(
	struct loop *loop, struct mux *mux, const struct target *t, uint32_t id, int *error);

/* content_send() - send what is behind fd, which is taken: file_data or file_entry, file_end, eof.
 * st is what fstat(2) has just said, version what file_version() made of it. */
void content_send(
	struct content *c, int fd, const struct stat *st, uint64_t version, uint64_t from);

/* content_end() - there is nothing to send. */
void content_end(struct content *c);

#endif

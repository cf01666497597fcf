/* Theory of operation. A step sends one message when the channel has room for the longest there is.
 * When it has none the steps go on from writable(), with the next credit of the client or when the
 * link has room again.
 *
 * Files are read to their end, whatever their size is said to be: those of procfs have none. Of a
 * file with fewer blocks than its size asks for only what is no hole is read. */
#include "content.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "log.h"

/* The longest message: an entry with its name and the text of a link. */
#define ENTRY_TEXT_MAX   (2 * PROTO_FILE_PATH_MAX)
#define CONTENT_ROOM_MIN PROTO_MESSAGE_COST(ENTRY_TEXT_MAX)

static void content_release(struct deferred *d)
{
	struct content *c = container_of(d, struct content, release);

	if (c->dir)
		closedir(c->dir);
	close_fd(&c->fd);
	free(c);
}

/* The last word. The client has nothing to say on such a channel, so it is over on both sides. */
void content_end(struct content *c)
{
	channel_eof(&c->ch);
	channel_close(&c->ch);
	loop_defer(c->loop, &c->release);
}

static void tell_end(struct content *c, int error)
{
	struct msg m = { .type = MSG_file_end, .id = c->ch.id };
	struct stat st;
	int fd = c->dir ? dirfd(c->dir) : c->fd;

	m.file_end.error = (uint32_t)error;
	if (!error && fstat(fd, &st) == 0) {
		uint64_t version = file_version(fd, &st);

		m.file_end.version = version == c->version ? version : 0;
		/* Nothing was read, so `from` may lie behind the end. */
		if (c->offset == c->from)
			c->offset = MIN(c->offset, (uint64_t)st.st_size);
		m.file_end.size = c->offset;
	}
	mux_send(c->ch.mux, &m);
	log_dbg("channel %u: %s", c->ch.id, error ? strerror(error) : "sent");
}

/* --- a regular file --- */

/* Where there is something to read next; a hole that ends the file is skipped to its end. */
static uint64_t next_data(const struct content *c)
{
	off_t at = lseek(c->fd, (off_t)c->offset, SEEK_DATA);
	struct stat st;

	if (at >= 0)
		return (uint64_t)at;
	if (errno == ENXIO && fstat(c->fd, &st) == 0 && (uint64_t)st.st_size > c->offset)
		return (uint64_t)st.st_size;
	return c->offset;
}

/* How much may be read there: of a sparse file up to the next hole. */
static size_t data_len(const struct content *c, size_t max)
{
	off_t end = c->sparse ? lseek(c->fd, (off_t)c->offset, SEEK_HOLE) : -1;

	return end > (off_t)c->offset ? MIN(max, (size_t)((uint64_t)end - c->offset)) : max;
}

/* 1: go on; 0: this was the end; or -errno. */
static int send_bytes(struct content *c, size_t room)
{
	static uint8_t bytes[PROTO_DATA_MAX];
	struct msg m = { .type = MSG_file_data, .id = c->ch.id };
	ssize_t n;

	if (c->sparse)
		c->offset = next_data(c);
	n = pread(c->fd, bytes, data_len(c, room - PROTO_MESSAGE_COST(0)), (off_t)c->offset);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	if (n == 0)
		return 0;
	m.file_data.offset = c->offset;
	m.file_data.bytes = (struct span){ bytes, (uint32_t)n };
	c->offset += (uint64_t)n;
	return channel_post(&c->ch, &m, (size_t)n) < 0 ? -EPROTO : 1;
}

/* --- a directory --- */

/* What can be said of an entry; without the right to search the directory that is its type. */
static struct file_attr entry_attr(const struct content *c, const struct dirent *d)
{
	int dir = dirfd(c->dir);
	struct file_attr attr;
	struct stat st;

	if (fstatat(dir, d->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return (struct file_attr){ .mode = DTTOIF(d->d_type), .ino = d->d_ino };
	attr = file_attr_of(&c->target->creds, &st);
	attr.flags = file_flags_at(dir, d->d_name);
	return attr;
}

static int send_entry(struct content *c, const struct dirent *d)
{
	char text[ENTRY_TEXT_MAX];
	size_t n = MIN(strlen(d->d_name), (size_t)PROTO_FILE_PATH_MAX);
	struct msg m = {
		.type = MSG_file_entry,
		.id = c->ch.id,
		.file_entry = { .attr = entry_attr(c, d), .name_len = (uint16_t)n },
	};
	ssize_t link = 0;

	memcpy(text, d->d_name, n);
	if (S_ISLNK(m.file_entry.attr.mode))
		link = readlinkat(dirfd(c->dir), d->d_name, text + n, sizeof(text) - n);
	if (link > 0)
		n += (size_t)link;
	m.file_entry.name = (struct span){ text, (uint32_t)n };
	return channel_post(&c->ch, &m, n) < 0 ? -EPROTO : 1;
}

static int send_entries(struct content *c, __attribute__((unused)) size_t room)
{
	const struct dirent *d;

	errno = 0;
	d = readdir(c->dir);
	if (!d)
		return -errno;
	if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
		return 1;
	return send_entry(c, d);
}

/* --- the channel --- */

static struct content *content_of(struct channel *ch)
{
	return container_of(ch, struct content, ch);
}

static int send_what_fits(struct content *c)
{
	size_t room;
	int r = 1;

	while (r > 0 && (room = channel_room(&c->ch)) >= CONTENT_ROOM_MIN)
		r = c->step(c, room);
	return r;
}

static void content_writable(struct channel *ch)
{
	struct content *c = content_of(ch);
	int r = creds_enter(&c->target->creds);

	if (r == 0) {
		creds_act_on(&c->target->creds, c->dir ? dirfd(c->dir) : c->fd);
		r = send_what_fits(c);
		creds_leave(&c->target->creds);
	}
	if (r > 0)
		return;
	tell_end(c, file_error(r));
	content_end(c);
}

static void content_data(struct channel *ch, __attribute__((unused)) const uint8_t *p,
	__attribute__((unused)) size_t n)
{
	mux_fail(ch->mux, EPROTO, "the client sent data where a file comes from");
}

static void content_eof(__attribute__((unused)) struct channel *ch)
{
}

static void content_reset(struct channel *ch, __attribute__((unused)) int error)
{
	struct content *c = content_of(ch);

	loop_defer(c->loop, &c->release);
}

static const struct channel_ops content_ops = {
	.data = content_data,
	.eof = content_eof,
	.reset = content_reset,
	.writable = content_writable,
};

struct content *content_open(
	struct loop *loop, struct mux *mux, const struct target *t, uint32_t id, int *error)
{
	struct content *c = calloc(1, sizeof(*c));

	*error = c ? channel_open(&c->ch, mux, id, &content_ops) : -ENOMEM;
	if (*error < 0) {
		free(c);
		return NULL;
	}
	channel_widen(&c->ch, PROTO_FILE_WINDOW);
	deferred_init(&c->release, content_release);
	c->loop = loop;
	c->target = t;
	c->fd = -1;
	return c;
}

void content_send(struct content *c, int fd, const struct stat *st, uint64_t version, uint64_t from)
{
	c->version = version;
	c->fd = fd;
	if (S_ISDIR(st->st_mode)) {
		c->step = send_entries;
		c->dir = fdopendir(fd);
		if (c->dir)
			c->fd = -1;
	} else {
		c->step = send_bytes;
		c->from = c->offset = from;
		c->sparse = st->st_blocks * 512 < st->st_size;
	}
	if (S_ISDIR(st->st_mode) && !c->dir) {
		tell_end(c, EIO);
		content_end(c);
		return;
	}
	content_writable(&c->ch);
}

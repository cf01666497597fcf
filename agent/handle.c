/* Theory of operation. The client does not wait for its writes: the first that fails is told at
 * once
 * (`file_failed`), and again by the next `file_sync`, as fsync(2) tells what became of earlier
 * writes. Between the two, what fails is not told again. */
#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "file.h"
#include "io.h"
#include "log.h"

struct handle {
	struct hnode node;
	int fd;
	int error; /* the first since the last file_sync, or 0 */
};

void handles_init(struct handles *h, struct mux *mux, const struct target *t)
{
	*h = (struct handles){ .mux = mux, .target = t };
}

static struct handle *find(const struct handles *h, uint32_t id)
{
	struct hnode *n = htab_find(&h->table, id);

	return n ? container_of(n, struct handle, node) : NULL;
}

static void drop(struct handles *h, struct handle *file)
{
	htab_del(&h->table, &file->node);
	close_fd(&file->fd);
	free(file);
}

void handles_done(struct handles *h)
{
	struct hnode *n;

	while ((n = htab_any(&h->table)))
		drop(h, container_of(n, struct handle, node));
	htab_done(&h->table);
}

int handle_add(struct handles *h, uint32_t id, int fd)
{
	struct handle *file;
	int r;

	if (h->table.count >= HANDLES_MAX)
		return -EMFILE;
	file = calloc(1, sizeof(*file));
	r = file ? htab_add(&h->table, &file->node, id) : -ENOMEM;
	if (r < 0) {
		free(file);
		return r;
	}
	file->fd = fd;
	return 0;
}

bool handle_is_open(const struct handles *h, uint32_t id)
{
	return find(h, id);
}

/* --- what is done with one: 0 or -errno --- */

/* The kernel says EPERM when a file that may only be added to (chattr(1)) shall not be. */
static int set_append(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return -errno;
	if (!(flags & O_APPEND) == !on)
		return 0;
	return fcntl(fd, F_SETFL, flags ^ O_APPEND) < 0 ? -errno : 0;
}

/* With O_APPEND the kernel looks only whether the offset is one (pwrite(2)). */
static int handle_write(const struct handle *file, const struct msg *m)
{
	const struct msg_file_write *w = &m->file_write;
	bool at_end = w->offset == PROTO_FILE_END;
	int r = set_append(file->fd, at_end);

	return r < 0 ? r
		     : io_write_at(file->fd, w->bytes.data, w->bytes.len, at_end ? 0 : w->offset);
}

static int handle_truncate(const struct handle *file, const struct msg *m)
{
	return ftruncate(file->fd, (off_t)m->file_truncate.size) < 0 ? -errno : 0;
}

static int handle_sync(const struct handle *file, __attribute__((unused)) const struct msg *m)
{
	return fsync(file->fd) < 0 ? -errno : 0;
}

/* As the target's process: room that is kept for root is not for others, and a file that others
 * write to loses its set-user-ID bit. */
static int as_target(const struct handles *h, const struct handle *file, const struct msg *m,
	int (*act)(const struct handle *file, const struct msg *m))
{
	int r = creds_enter(&h->target->creds);

	if (r < 0)
		return r;
	creds_act_on(&h->target->creds, file->fd);
	r = act(file, m);
	creds_leave(&h->target->creds);
	return r;
}

/* --- what is said of it --- */

static void note_failure(struct handles *h, struct handle *file, uint32_t id, int r)
{
	struct msg m = { .type = MSG_file_failed, .id = id };

	if (r == 0 || file->error)
		return;
	file->error = file_error(r);
	m.file_failed.error = (uint32_t)file->error;
	log_dbg("file %u: %s", id, strerror(file->error));
	mux_send(h->mux, &m);
}

static void got_write(struct handles *h, struct handle *file, const struct msg *m)
{
	note_failure(h, file, m->id, as_target(h, file, m, handle_write));
}

static void got_truncate(struct handles *h, struct handle *file, const struct msg *m)
{
	note_failure(h, file, m->id, as_target(h, file, m, handle_truncate));
}

static void tell_synced(
	const struct handles *h, const struct handle *file, const struct msg *sync, int error)
{
	struct msg m = {
		.type = MSG_file_synced,
		.id = sync->id,
		.file_synced = { .request = sync->file_sync.request, .error = (uint32_t)error },
	};
	struct stat st;

	if (file && fstat(file->fd, &st) == 0) {
		m.file_synced.attr = file_attr_of(&h->target->creds, &st);
		m.file_synced.version = file_version(file->fd, &st);
	}
	log_dbg("file %u: %s", sync->id, error ? strerror(error) : "synced");
	mux_send(h->mux, &m);
}

static void got_sync(struct handles *h, struct handle *file, const struct msg *m)
{
	int r = as_target(h, file, m, handle_sync);
	int error = file->error ? file->error : file_error(r);

	file->error = 0;
	tell_synced(h, file, m, error);
}

static void got_close(struct handles *h, struct handle *file, const struct msg *m)
{
	log_dbg("file %u: closed", m->id);
	drop(h, file);
}

void handle_message(struct handles *h, const struct msg *m)
{
	static const struct {
		enum msg_type type;
		void (*handle)(struct handles *h, struct handle *file, const struct msg *m);
	} rows[] = {
		{ MSG_file_write, got_write },
		{ MSG_file_truncate, got_truncate },
		{ MSG_file_sync, got_sync },
		{ MSG_file_close, got_close },
	};
	struct handle *file = find(h, m->id);

	if (!file && m->type == MSG_file_sync)
		tell_synced(h, NULL, m, EBADF);
	for (size_t i = 0; file && i < ARRAY_SIZE(rows); i++) {
		if (rows[i].type == m->type) {
			rows[i].handle(h, file, m);
			return;
		}
	}
}

/* Theory of operation. A path is looked at first (O_PATH), which does nothing to what is there, and
 * opened only if that is a regular file or a directory: to open a fifo or a device is to act. What
 * is opened then is the very thing that was looked at; only where the file is to be created must
 * the path be gone again, so that the kernel applies its rules for that, and then what was opened
 * is looked at once more.
 *
 * One that is open for writing is read through a descriptor of its own: the handle may be closed
 * while its content is still on the way. */
#include "file_open.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>

#include "content.h"
#include "log.h"
#include "resolve.h"

/* For these something is opened; without one of them the file is only looked at. */
#define WANT_OPENED (FILE_READ | FILE_WRITE | FILE_CREATE | FILE_TRUNC)

struct request {
	const struct target *target;
	uint32_t want;
	mode_t mode;
	uint64_t known, from;
	uint64_t resolve; /* RESOLVE_* of openat2(2), for what is behind the first `base` bytes */
	size_t base;
	char path[PATH_MAX];
};

struct opened {
	int place;  /* O_PATH; -1: `file` says it all */
	int file;   /* as the guest opened it, or -1 */
	int source; /* what to send, or -1 */
	struct stat st;
	uint64_t version, flags;
	enum file_content content;
	char name[2 * PATH_MAX]; /* canonical path, and the text of a link */
	size_t name_len, text_len;
};

static void opened_close(struct opened *o)
{
	close_fd(&o->place);
	close_fd(&o->file);
	close_fd(&o->source);
}

static int flags_of(uint32_t want)
{
	static const struct {
		uint32_t want;
		int flag;
	} rows[] = {
		{ FILE_APPEND, O_APPEND },
		{ FILE_CREATE, O_CREAT },
		{ FILE_EXCL, O_EXCL },
		{ FILE_TRUNC, O_TRUNC },
		{ FILE_DIRECTORY, O_DIRECTORY },
		{ FILE_NOFOLLOW, O_NOFOLLOW },
	};
	int flags = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		flags |= want & rows[i].want ? rows[i].flag : 0;
	return flags;
}

static uint64_t resolve_of(uint32_t want)
{
	return (want & FILE_BENEATH ? RESOLVE_BENEATH : 0) |
	       (want & FILE_IN_ROOT ? RESOLVE_IN_ROOT : 0) |
	       (want & FILE_NO_SYMLINKS ? RESOLVE_NO_SYMLINKS : 0) |
	       (want & FILE_NO_XDEV ? RESOLVE_NO_XDEV : 0);
}

/* --- opening --- */

/* What may be opened at all: what is done with anything else is not done here. The agent's own part
 * of /proc is nobody's business. */
static int check_file(const struct target *t, int fd, const struct stat *st)
{
	if (S_ISLNK(st->st_mode))
		return -ELOOP;
	if (!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode))
		return -ENXIO;
	return S_ISREG(st->st_mode) && !st->st_blocks && resolve_is_ours(t, fd) ? -EACCES : 0;
}

/* Whether the path itself is opened: a file may have to be made there. */
static bool by_path(const struct request *q)
{
	return q->want & FILE_CREATE;
}

static int open_as(const struct request *q, const struct opened *o, int access)
{
	int flags = access | flags_of(q->want) | O_NONBLOCK | O_NOCTTY;

	if (by_path(q))
		return resolve_open_from(q->target, q->path, q->base, q->resolve, flags,
			flags & O_CREAT ? q->mode & 07777 : 0);
	/* Its name is a magic link, which is to be followed. */
	return resolve_again(o->place, flags & ~O_NOFOLLOW);
}

/* One that is only to be written to is read too, if that is allowed, so that the client knows what
 * it writes into. */
static int open_file(const struct request *q, const struct opened *o)
{
	int fd;

	if (!(q->want & FILE_WRITE))
		return open_as(q, o, O_RDONLY);
	fd = open_as(q, o, O_RDWR);
	return fd == -EACCES && !(q->want & FILE_READ) ? open_as(q, o, O_WRONLY) : fd;
}

static int look(const struct request *q, struct opened *o)
{
	int flags = flags_of(q->want) & (O_DIRECTORY | O_NOFOLLOW);

	o->place = resolve_open_from(q->target, q->path, q->base, q->resolve, O_PATH | flags, 0);
	if (o->place < 0)
		return o->place;
	creds_act_on(&q->target->creds, o->place);
	return fstat(o->place, &o->st) < 0 ? -errno : 0;
}

static int check_rights(const struct request *q, const struct opened *o)
{
	int rights = (q->want & FILE_EXEC ? X_OK : 0) | (q->want & FILE_MODIFY ? W_OK : 0);
	bool may_run = S_ISDIR(o->st.st_mode) ? q->want & FILE_DIRECTORY : S_ISREG(o->st.st_mode);

	if (!rights)
		return 0;
	if (rights & X_OK && !may_run)
		return S_ISLNK(o->st.st_mode) ? -ELOOP : -EACCES;
	return faccessat(o->place, "", rights, AT_EMPTY_PATH | AT_EACCESS) < 0 ? -errno : 0;
}

/* Open what the guest wants to have open. */
static int open_wanted(const struct request *q, struct opened *o)
{
	o->file = open_file(q, o);
	if (o->file < 0)
		return o->file;
	if (fstat(o->file, &o->st) < 0)
		return -errno;
	return check_file(q->target, o->file, &o->st);
}

/* There is nothing at the path, or it cannot be there: what is acted on is the directory. */
static int create(const struct request *q, struct opened *o)
{
	struct place p = { .dir = -1 };

	if (resolve_place(q->target, q->path, &p) == 0)
		creds_act_on(&q->target->creds, p.dir);
	close_fd(&p.dir);
	return open_wanted(q, o);
}

static int open_found(const struct request *q, struct opened *o)
{
	bool anew = by_path(q) && q->want & FILE_EXCL;
	int r = anew ? -ENOENT : look(q, o);

	if ((r == -ENOENT || r == -ENOTDIR) && by_path(q))
		return create(q, o);
	if (r == 0)
		r = check_rights(q, o);
	if (r < 0 || q->want & FILE_PATH)
		return r;
	r = check_file(q->target, o->place, &o->st);
	return r == 0 && q->want & WANT_OPENED ? open_wanted(q, o) : r;
}

/* --- what is sent --- */

static bool wants_content(const struct request *q, const struct opened *o)
{
	if (q->want & FILE_PATH)
		return false;
	return q->want & (S_ISDIR(o->st.st_mode) ? FILE_LIST : FILE_CONTENT);
}

/* A descriptor to read from; without the right to, the client gets nothing. */
static int open_source(struct opened *o)
{
	bool whole = o->file < 0 || (fcntl(o->file, F_GETFL) & O_ACCMODE) == O_WRONLY;
	int from = o->place >= 0 ? o->place : o->file;

	o->source = whole ? resolve_again(from, O_RDONLY | O_NONBLOCK | O_NOCTTY)
			  : fcntl(o->file, F_DUPFD_CLOEXEC, 0);
	if (o->source < 0 && !whole)
		return -errno;
	return o->source == -EMFILE || o->source == -ENFILE ? o->source : 0;
}

static int choose_content(const struct request *q, struct opened *o)
{
	int fd = o->file >= 0 ? o->file : o->place, r;

	o->version = file_version(fd, &o->st);
	o->flags = file_flags(fd);
	if (!wants_content(q, o))
		return 0;
	if (S_ISREG(o->st.st_mode) && q->known && q->known == o->version) {
		o->content = FILE_UNCHANGED;
		return 0;
	}
	r = open_source(o);
	if (o->source >= 0)
		o->content = S_ISDIR(o->st.st_mode) ? FILE_ENTRIES : FILE_BYTES;
	return r;
}

static int name_it(const struct request *q, struct opened *o)
{
	ssize_t n = resolve_name(q->target, o->file >= 0 ? o->file : o->place, o->name);

	if (n < 0)
		return (int)n;
	o->name_len = o->text_len = (size_t)n;
	if (S_ISLNK(o->st.st_mode)) {
		n = readlinkat(o->place, "", o->name + n, PROTO_FILE_PATH_MAX);
		if (n < 0)
			return -errno;
		o->text_len += (size_t)n;
	}
	return 0;
}

/* All that is done as the target's process. */
static int open_as_target(const struct request *q, struct opened *o)
{
	int r = creds_enter(&q->target->creds);

	if (r < 0)
		return r;
	r = open_found(q, o);
	if (r == 0)
		r = name_it(q, o);
	if (r == 0)
		r = choose_content(q, o);
	creds_leave(&q->target->creds);
	return -file_error(r);
}

/* --- the answer --- */

static void tell_opened(
	struct mux *mux, const struct target *t, uint32_t id, int r, const struct opened *o)
{
	struct msg m = { .type = MSG_file_opened, .id = id };

	if (r < 0) {
		m.file_opened.error = (uint32_t)-r;
	} else {
		m.file_opened.content = (uint8_t)o->content;
		m.file_opened.attr = file_attr_of(&t->creds, &o->st);
		m.file_opened.attr.flags = o->flags;
		m.file_opened.version = o->version;
		m.file_opened.path_len = (uint16_t)o->name_len;
		m.file_opened.path = (struct span){ o->name, (uint32_t)o->text_len };
	}
	mux_send(mux, &m);
}

static void log_opened(const struct msg *m, int r, const struct opened *o)
{
	static const char *const contents[] = {
		[FILE_NOTHING] = "nothing to send",
		[FILE_UNCHANGED] = "unchanged",
		[FILE_BYTES] = "sending",
		[FILE_ENTRIES] = "listing",
	};
	char path[PATH_MAX];

	_Static_assert(ARRAY_SIZE(contents) == FILE_CONTENT_MAX, "one word for each");
	log_dbg("channel %u: open %s (want %x): %s", m->id,
		proto_print(m->file_open.path, path, sizeof(path)), m->file_open.want,
		r < 0 ? strerror(-r) : contents[o->content]);
}

static void answer(
	struct content *c, struct handles *h, const struct request *q, const struct msg *m)
{
	struct opened o = { .place = -1, .file = -1, .source = -1 };
	int r = open_as_target(q, &o);

	if (r == 0 && q->want & FILE_WRITE && !(q->want & FILE_PATH)) {
		r = handle_add(h, m->id, o.file);
		if (r == 0)
			o.file = -1;
	}
	log_opened(m, r, &o);
	tell_opened(c->ch.mux, q->target, m->id, r, &o);
	if (r == 0 && o.source >= 0)
		content_send(c, take_fd(&o.source), &o.st, o.version, q->from);
	else
		content_end(c);
	opened_close(&o);
}

/* With a base, what follows it is another path; without one there is nothing to be beneath. */
static bool has_sane_base(const struct msg_file_open *m)
{
	uint32_t beneath = m->want & (FILE_BENEATH | FILE_IN_ROOT);

	return m->base ? beneath && m->base < m->path.len : !beneath;
}

static bool is_sane(const struct handles *h, const struct msg *m)
{
	return has_sane_base(&m->file_open) && m->id & PROTO_CLIENT_CHANNEL &&
	       !(m->file_open.want & ~(uint32_t)FILE_WANT_ALL) && !handle_is_open(h, m->id);
}

int file_open(struct loop *loop, struct mux *mux, const struct target *t, struct handles *h,
	const struct msg *m)
{
	struct request q = {
		.target = t,
		.want = m->file_open.want,
		.mode = m->file_open.mode,
		.known = m->file_open.known,
		.from = m->file_open.from,
		.resolve = resolve_of(m->file_open.want),
		.base = m->file_open.base,
	};
	struct content *c;
	int r;

	if (!is_sane(h, m) || !resolve_take(m->file_open.path, q.path))
		return -EPROTO;
	c = content_open(loop, mux, t, m->id, &r);
	if (r == -EEXIST)
		return -EPROTO;
	if (c)
		answer(c, h, &q, m);
	else
		tell_opened(mux, t, m->id, -file_error(r), NULL);
	return 0;
}

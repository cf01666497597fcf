/* Theory of operation. The kernel has one watch for a file and an inotify, however many ids the
 * client has for it; each of them is told. What happens in one turn of the loop is one message per
 * id: its events are put together, and a name is told only if all were about that one.
 *
 * When the link is full nothing is read, so that it is the kernel's queue that grows, and overflows
 * (FILE_EVENT_LOST for all); what is pending by then is told when there is room again. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "file.h"
#include "log.h"
#include "resolve.h"

/* How soon a link that was full is looked at again. */
#define WATCH_AGAIN_MS 20

/* The longest name that is told. */
#define WATCH_NAME_MAX 256

#define WATCH_MASK                                                                                 \
	(IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |             \
		IN_DELETE_SELF | IN_MOVE_SELF)

struct file_watch {
	struct hnode by_id, by_wd;
	struct list pending; /* in watches->pending, or nowhere */
	uint32_t events;
	bool named; /* all of them are about `name` */
	char name[WATCH_NAME_MAX + 1];
};

static uint32_t id_of(const struct file_watch *f)
{
	return (uint32_t)f->by_id.key;
}

/* --- telling --- */

static void tell(struct watches *w, uint32_t id, int error, uint32_t events, const char *name)
{
	struct msg m = {
		.type = MSG_file_changed,
		.id = id,
		.file_changed = {
			.error = (uint32_t)error,
			.events = events,
			.name = span_of(name),
		},
	};

	mux_send(w->mux, &m);
}

/* The kernel's watch goes with the last that shares it. EINVAL: it has gone already. */
static void leave(struct watches *w, int wd)
{
	if (!htab_find(&w->by_wd, (uint64_t)wd))
		inotify_rm_watch(w->inotify.fd, wd);
}

static void file_watch_free(struct watches *w, struct file_watch *f)
{
	int wd = (int)f->by_wd.key;

	htab_del(&w->by_id, &f->by_id);
	htab_del(&w->by_wd, &f->by_wd);
	list_del(&f->pending);
	leave(w, wd);
	free(f);
}

static void tell_one(struct watches *w, struct file_watch *f)
{
	uint32_t events = f->events;

	log_dbg("watch %u: events %x %s", id_of(f), events, f->named ? f->name : "");
	list_del(&f->pending);
	f->events = 0;
	tell(w, id_of(f), 0, events, f->named ? f->name : "");
	if (events & FILE_EVENT_GONE)
		file_watch_free(w, f);
}

static bool link_is_full(struct watches *w)
{
	return buf_len(&w->mux->out) >= MUX_OUT_HIGH;
}

static void tell_all(struct watches *w)
{
	while (!list_empty(&w->pending) && !link_is_full(w))
		tell_one(w, list_entry(w->pending.next, struct file_watch, pending));
}

/* --- what happens --- */

static void happened(struct watches *w, struct file_watch *f, uint32_t events, const char *name)
{
	bool first = !f->events;

	f->named = *name && strlen(name) <= WATCH_NAME_MAX &&
		   (first || (f->named && strcmp(name, f->name) == 0));
	if (f->named)
		strcpy(f->name, name);
	f->events |= events;
	if (list_empty(&f->pending))
		list_append(&w->pending, &f->pending);
}

static uint32_t events_of(uint32_t mask)
{
	static const struct {
		uint32_t mask, event;
	} rows[] = {
		{ IN_MODIFY, FILE_EVENT_CONTENT },
		{ IN_ATTRIB, FILE_EVENT_ATTR },
		{ IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO, FILE_EVENT_ENTRY },
		{ IN_MOVED_TO, FILE_EVENT_MOVED },
		{ IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED, FILE_EVENT_GONE },
	};
	uint32_t events = 0;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		events |= mask & rows[i].mask ? rows[i].event : 0;
	return events;
}

static void overflowed(struct watches *w)
{
	htab_for_each (n, &w->by_id)
		happened(w, container_of(n, struct file_watch, by_id), FILE_EVENT_LOST, "");
}

static void got_event(struct watches *w, const struct inotify_event *e)
{
	struct hnode *n = htab_find(&w->by_wd, (uint64_t)(unsigned)e->wd);

	if (e->mask & IN_Q_OVERFLOW)
		overflowed(w);
	for (; n; n = htab_next(n))
		happened(w, container_of(n, struct file_watch, by_wd), events_of(e->mask),
			e->len ? e->name : "");
}

/* One read; false: there was nothing. */
static bool read_events(struct watches *w)
{
	_Alignas(struct inotify_event) char buf[16384];
	ssize_t n = read(w->inotify.fd, buf, sizeof(buf));

	for (char *p = buf; p < buf + n;) {
		const struct inotify_event *e = (const void *)p;

		got_event(w, e);
		p += sizeof(*e) + e->len;
	}
	return n > 0;
}

/* Read while there is room to tell; else come back. */
static void serve(struct watches *w)
{
	if (!link_is_full(w))
		read_events(w);
	tell_all(w);
	loop_set(w->loop, &w->inotify, link_is_full(w) ? 0 : EPOLLIN);
	if (link_is_full(w))
		loop_timer(w->loop, &w->again, WATCH_AGAIN_MS);
}

static void inotify_ready(struct watch *watch, __attribute__((unused)) uint32_t events)
{
	serve(container_of(watch, struct watches, inotify));
}

static void again(struct timer *t)
{
	serve(container_of(t, struct watches, again));
}

/* --- watching --- */

static struct file_watch *find(const struct watches *w, uint32_t id)
{
	struct hnode *n = htab_find(&w->by_id, id);

	return n ? container_of(n, struct file_watch, by_id) : NULL;
}

/* The kernel's bound on instances is one on watches to who asks for the first. */
static int start_inotify(struct watches *w)
{
	int fd, r;

	if (w->inotify.fd >= 0)
		return 0;
	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE ? -ENOSPC : -errno;
	r = loop_add(w->loop, &w->inotify, fd, EPOLLIN, inotify_ready);
	if (r < 0)
		close(fd);
	return r;
}

/* The kernel's number for what is at the path, and how that is from now on; or -errno. To watch is
 * to be allowed to read. */
static int watch_path(struct watches *w, const char *path, struct stat *st)
{
	cleanup_fd int fd = resolve_open(w->target, path, O_PATH, 0);
	char name[RESOLVE_FD_PATH];
	int wd;

	if (fd < 0)
		return fd;
	creds_act_on(&w->target->creds, fd);
	wd = inotify_add_watch(w->inotify.fd, resolve_fd_path(fd, name), WATCH_MASK);
	return wd < 0 || fstat(fd, st) < 0 ? -errno : wd;
}

static int watch_as_target(struct watches *w, const char *path, struct stat *st)
{
	int r = start_inotify(w);

	if (r == 0)
		r = creds_enter(&w->target->creds);
	if (r < 0)
		return r;
	r = watch_path(w, path, st);
	creds_leave(&w->target->creds);
	return r;
}

/* On the way out nothing is left but what others share. */
static int watch_add(struct watches *w, uint32_t id, const char *path, struct stat *st)
{
	struct file_watch *f;
	int wd;

	if (w->by_id.count >= WATCHES_MAX)
		return -ENOSPC;
	wd = watch_as_target(w, path, st);
	if (wd < 0)
		return wd;
	f = calloc(1, sizeof(*f));
	if (f && htab_add(&w->by_id, &f->by_id, id) == 0 &&
		htab_add(&w->by_wd, &f->by_wd, (uint64_t)(unsigned)wd) == 0) {
		list_init(&f->pending);
		return 0;
	}
	if (f)
		htab_del(&w->by_id, &f->by_id);
	free(f);
	leave(w, wd);
	return -ENOMEM;
}

/* The client is told of what happened before that. Before Linux 6.13 two changes within one tick of
 * the clock have the same time. */
static void compare(struct watches *w, const struct msg *m, const struct stat *st)
{
	uint64_t known = m->file_watch.ctime;

	if (!known || known == (uint64_t)timespec_to_ns(st->st_ctim))
		return;
	happened(w, find(w, m->id), FILE_EVENT_CONTENT, "");
	serve(w);
}

static int got_watch(struct watches *w, const struct msg *m)
{
	char path[PATH_MAX], printed[PATH_MAX];
	struct stat st;
	int r;

	if (find(w, m->id) || !resolve_take(m->file_watch.path, path))
		return -EPROTO;
	r = watch_add(w, m->id, path, &st);
	log_dbg("watch %u: %s: %s", m->id, proto_print(span_of(path), printed, sizeof(printed)),
		r < 0 ? strerror(-r) : "watched");
	tell(w, m->id, file_error(r), 0, "");
	if (r == 0)
		compare(w, m, &st);
	return 0;
}

/* An id that is unknown is that of a watch that is over: the news crossed this on its way. */
static int got_unwatch(struct watches *w, const struct msg *m)
{
	struct file_watch *f = find(w, m->id);

	log_dbg("watch %u: ended", m->id);
	if (f)
		file_watch_free(w, f);
	return 0;
}

int watch_message(struct watches *w, const struct msg *m)
{
	return m->type == MSG_file_watch ? got_watch(w, m) : got_unwatch(w, m);
}

void watches_init(struct watches *w, struct loop *loop, struct mux *mux, const struct target *t)
{
	*w = (struct watches){ .loop = loop, .mux = mux, .target = t, .inotify.fd = -1 };
	timer_init(&w->again, again);
	list_init(&w->pending);
}

void watches_done(struct watches *w)
{
	int fd = w->inotify.fd;
	struct hnode *n;

	timer_cancel(&w->again);
	while ((n = htab_any(&w->by_id)))
		file_watch_free(w, container_of(n, struct file_watch, by_id));
	htab_done(&w->by_id);
	htab_done(&w->by_wd);
	if (fd < 0)
		return;
	loop_del(w->loop, &w->inotify);
	close_fd(&fd);
}

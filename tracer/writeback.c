/* Theory of operation. A file that is open for writing is watched by inotify. When it was changed,
 * a pass over it (sent.h) gets a place on the link, as a source (mux.h), which makes its messages
 * when there is room. A pass sees what is in the copy when it comes to it, not when it got its
 * place; that is later content, never earlier. So a pass that has not begun does for all changes up
 * to its beginning, and while it waits no other is needed, however often the file changes: one that
 * is under way and one that waits are all there can be.
 *
 * That what is sent early can be seen early does no harm: to whom it happens, the bytes that it
 * overtook have not come yet. Operations on the file (chmod, utimensat, …) are not overtaken by
 * what the guest writes after them, since it writes that after their answer.
 *
 * Two occasions to look at a changed file: before something of the guest's is sent, and then it
 * must be exact; and for its own sake, at once, then every WRITEBACK_PACE_MS as long as the guest
 * goes on. What was only added is found by the size. To find what was changed in place all of the
 * file is to be read: in a small one that is done whenever it was changed, in a large one that did
 * not grow before the next message, and in a large one that did, after a while (OWED_PERHAPS).
 *
 * A file is over when nobody has it open for writing any more, mapped memory included: then a read
 * lease can be had (fcntl(2)). The last close raises IN_CLOSE_WRITE, after the last munmap(2), so a
 * pass over all of it after that is the final one. */
#include "writeback_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "trap.h"
#include "tree_parts.h"
#include "util.h"

#define EVENTS_SIZE 4096

/* While a comparison is owed and nothing happens. */
#define OWED_MS 1000

/* --- passes --- */

static bool is_busy(const struct writeback_file *f)
{
	return mux_source_waits(&f->pass[0].source) || mux_source_waits(&f->pass[1].source);
}

/* The content is another than that of the version that the agent told. */
static void note_sent(struct writeback_file *f)
{
	f->copy_node->version = 0;
	f->copy_node->seen_ns = 0;
}

static enum mux_more pass_over(struct pass *p, int r)
{
	struct writeback_file *f = p->file;

	if (r < 0)
		writeback_failed(f->wb, f->record, -r);
	if (f->sent.news)
		note_sent(f);
	f->sent.news = false;
	if (p->begun)
		close_fd(&p->pass.fd);
	p->begun = false;
	f->behind = mux_source_waits(&f->pass[p == &f->pass[0]].source);
	loop_defer(loop_of(f->wb), &f->wb->tidy);
	return MUX_OVER;
}

static int pass_begin(struct pass *p, struct mux *mux)
{
	struct writeback_file *f = p->file;
	int fd = tree_open_copy(&f->wb->tracer->fs.tree, f->copy, O_RDONLY | O_CLOEXEC), r;

	if (fd < 0)
		return fd;
	r = sent_begin(&f->sent, &p->pass, mux, fd, p->all);
	if (r < 0)
		close(fd);
	p->begun = r == 0;
	return r;
}

static enum mux_more pass_more(struct mux_source *s, struct mux *mux)
{
	struct pass *p = container_of(s, struct pass, source);
	int r = p->begun ? 0 : pass_begin(p, mux);

	if (r < 0)
		return pass_over(p, r);
	for (unsigned i = 0; i < WRITEBACK_TURN / SENT_BLOCK; i++) {
		r = sent_step(&p->file->sent, &p->pass, mux);
		if (r <= 0)
			return pass_over(p, r);
		if (!mux_source_has_room(mux))
			return MUX_MORE;
	}
	return MUX_PAUSE;
}

/* The one that waits and has not begun, or one that is free: only one can have begun, the first on
 * the link. */
static struct pass *next_pass(struct writeback_file *f)
{
	struct pass *p = &f->pass[0];

	if (p->begun || (!mux_source_waits(&p->source) && mux_source_waits(&p[1].source)))
		p++;
	return p->begun ? &f->pass[0] : p;
}

void writeback_pass(struct writeback_file *f, bool all)
{
	struct pass *p = next_pass(f);

	p->all = all || (p->all && mux_source_waits(&p->source));
	if (all)
		f->owed = OWED_NOTHING;
	f->behind = true;
	if (f->state != HANDLE_OPEN)
		return;
	if (!mux_source_waits(&p->source))
		f->placed = ++f->wb->passes;
	mux_source_add(mux_of(f->wb), &p->source);
}

/* What it has sent by now is there, or on its way; of the rest it is to be told in another way. */
void writeback_stop_passes(struct writeback_file *f)
{
	for (int i = 0; i < 2; i++) {
		if (f->pass[i].begun)
			close_fd(&f->pass[i].pass.fd);
		f->pass[i].begun = false;
	}
}

/* --- what has changed --- */

/* Unless that is done already, it is looked at in a while. */
static void note_changed(struct writeback_file *f)
{
	struct writeback *w = f->wb;

	if (list_empty(&f->changed))
		list_append(&w->changed, &f->changed);
	if (list_empty(&w->pace.link))
		loop_timer(loop_of(w), &w->pace, WRITEBACK_PACE_MS);
}

static void note_event(struct writeback_file *f, uint32_t mask)
{
	f->touched = true;
	if (f->state == HANDLE_GONE && mask & IN_MODIFY)
		writeback_failed(f->wb, f->record, ENOTCONN);
	if (mask & (IN_CLOSE_WRITE | IN_Q_OVERFLOW))
		f->closing = true;
	note_changed(f);
}

static void take_event(struct writeback *w, const struct inotify_event *e)
{
	struct hnode *n = htab_find(&w->by_watch, (uint64_t)e->wd);

	if (n) {
		note_event(container_of(n, struct writeback_file, node), e->mask);
	} else if (e->mask & IN_Q_OVERFLOW) {
		list_for_each (l, &w->files)
			note_event(list_entry(l, struct writeback_file, link), e->mask);
	}
}

/* False: nothing has happened. A read that leaves room has emptied the queue. */
bool writeback_drain(struct writeback *w)
{
	union {
		struct inotify_event align;
		char bytes[EVENTS_SIZE];
	} events;
	bool any = false;
	ssize_t n;

	do {
		n = read(w->watch.fd, events.bytes, sizeof(events.bytes));
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(events.bytes + at);

			take_event(w, e);
			at += (ssize_t)(sizeof(*e) + e->len);
		}
		any = any || n > 0;
	} while (n > (ssize_t)(sizeof(events.bytes) - sizeof(struct inotify_event)) ||
		 (n < 0 && errno == EINTR));
	return any;
}

static uint64_t size_of(const struct writeback_file *f)
{
	struct stat st;

	return fstat(f->copy, &st) == 0 ? (uint64_t)st.st_size : f->size;
}

static void owe(struct writeback_file *f, enum owed owed)
{
	if (f->owed == OWED_NOTHING)
		f->due_ns = now_ns() + WRITEBACK_LATER_NS + f->size * WRITEBACK_BYTE_NS;
	if (f->owed < owed)
		f->owed = owed;
	note_changed(f);
}

static void look_at_change(struct writeback_file *f)
{
	uint64_t was = f->size;

	f->touched = false;
	f->size = size_of(f);
	if (f->sent.blind)
		writeback_pass(f, false);
	else if (f->closing || f->size <= WRITEBACK_EXACT)
		writeback_pass(f, true);
	else if (f->size > was)
		writeback_pass(f, false), owe(f, OWED_PERHAPS);
	else
		owe(f, OWED_SURELY);
}

/* exact: something of the guest's is about to be sent. */
static void look(struct writeback_file *f, bool exact)
{
	if (f->touched)
		look_at_change(f);
	if ((exact && f->owed == OWED_SURELY) || (f->owed && now_ns() >= f->due_ns))
		writeback_pass(f, true);
	if (!f->owed && !f->closing)
		list_del(&f->changed);
	if (f->closing)
		loop_defer(loop_of(f->wb), &f->wb->tidy);
}

static void look_at_all(struct writeback *w, bool exact)
{
	list_for_each_safe (l, &w->changed)
		look(list_entry(l, struct writeback_file, changed), exact);
}

void writeback_before_send(struct writeback *w)
{
	if (writeback_is_idle(w))
		return;
	writeback_drain(w);
	look_at_all(w, true);
}

/* While events come, they are fetched now and then, so that a guest that writes does not wake us
 * with each write(2). */
static void at_pace(struct timer *t)
{
	struct writeback *w = container_of(t, struct writeback, pace);
	bool any = writeback_drain(w);

	look_at_all(w, false);
	loop_set(loop_of(w), &w->watch, any ? 0 : EPOLLIN);
	timer_cancel(t);
	if (any)
		loop_timer(loop_of(w), t, WRITEBACK_PACE_MS);
	else if (!list_empty(&w->changed))
		loop_timer(loop_of(w), t, OWED_MS);
}

static void on_events(struct watch *watch, uint32_t events)
{
	(void)events;
	at_pace(&container_of(watch, struct writeback, watch)->pace);
}

bool writeback_has_unsent(struct writeback_file *f)
{
	writeback_drain(f->wb);
	return f->touched || f->owed || f->state != HANDLE_OPEN || is_busy(f);
}

/* --- what the target has changed --- */

uint64_t writeback_mark(const struct writeback *w)
{
	return w->passes;
}

int writeback_take(struct tree_node *node, int content, uint64_t size, uint64_t mark)
{
	struct writeback_file *f = node->writeback;
	bool newest = !writeback_has_unsent(f) && f->placed <= mark;
	cleanup_fd int fd = -1;
	int r;

	if (!newest && node->has_content)
		return 0;
	fd = tree_open_copy(&f->wb->tracer->fs.tree, f->copy, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return fd;
	r = newest ? sent_take(&f->sent, fd, content, size)
		   : sent_fill(&f->sent, fd, content, MIN(size, f->base));
	f->size = size_of(f);
	return r < 0 ? r : newest;
}

/* --- the end of a file --- */

void writeback_close_handle(struct writeback *w, uint32_t handle)
{
	struct msg m = { .type = MSG_file_close, .id = handle };

	if (link_is_up(&w->tracer->link))
		mux_send(mux_of(w), &m);
}

void writeback_file_free(struct writeback_file *f)
{
	struct writeback *w = f->wb;

	writeback_again_drop(f);
	for (int i = 0; i < 2; i++)
		mux_source_del(mux_of(w), &f->pass[i].source);
	writeback_stop_passes(f);
	list_del(&f->link);
	list_del(&f->changed);
	htab_del(&w->by_watch, &f->node);
	inotify_rm_watch(w->watch.fd, f->wd);
	if (f->record)
		f->record->is_open = false;
	if (f->copy_node && f->copy_node->writeback == f) {
		f->copy_node->seen_ns = 0;
		tree_unwritten(&w->tracer->fs.tree, f->copy_node);
	}
	close_fd(&f->copy);
	sent_done(&f->sent);
	free(f);
}

static void file_end(struct writeback_file *f)
{
	struct writeback *w = f->wb;
	uint32_t handle = f->sent.handle;
	bool is_open = f->state == HANDLE_OPEN;

	writeback_file_free(f);
	if (is_open)
		writeback_close_handle(w, handle);
}

/* Somebody has it open for writing, or it cannot be known. */
static bool is_written(const struct writeback_file *f)
{
	cleanup_fd int fd = tree_open_copy(&f->wb->tracer->fs.tree, f->copy, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
		return true;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

static void tidy_file(struct writeback_file *f)
{
	if (!f->closing || f->touched || f->state == HANDLE_AWAY || is_busy(f))
		return;
	if (!f->wb->finishing && is_written(f)) {
		f->closing = false;
		if (!f->owed)
			list_del(&f->changed);
		return;
	}
	/* A writer may have come and gone since the queue was read. */
	writeback_drain(f->wb);
	if (f->touched)
		look(f, false);
	else
		file_end(f);
}

/* --- the end of the guest --- */

static void on_last(struct remote_query *q, int error, const struct remote_found *found)
{
	struct writeback *w = container_of(q, struct writeback, last);

	(void)error;
	(void)found;
	w->finished = true;
}

static const struct remote_ops last_ops = { .found = on_last };

/* All is sent. When the agent answers what is asked after it, it has done it all. */
static void finish(struct writeback *w)
{
	if (!w->finishing || w->asked || !list_empty(&w->files))
		return;
	w->asked = true;
	w->last = (struct remote_query){ .ops = &last_ops };
	if (list_empty(&w->records) || !link_is_up(&w->tracer->link) ||
		remote_op(&w->tracer->fs.remote, &w->last, FILE_OP_STAT, 0, 0, 0, "/", NULL, 0) < 0)
		w->finished = true;
}

static void tidy(struct deferred *d)
{
	struct writeback *w = container_of(d, struct writeback, tidy);

	list_for_each_safe (l, &w->files)
		tidy_file(list_entry(l, struct writeback_file, link));
	finish(w);
}

void writeback_finish(struct writeback *w)
{
	if (w->watch.fd < 0 || w->finishing)
		return;
	w->finishing = true;
	writeback_drain(w);
	list_for_each (l, &w->files) {
		struct writeback_file *f = list_entry(l, struct writeback_file, link);

		if (f->state == HANDLE_AWAY)
			writeback_file_lost(f);
		note_event(f, IN_CLOSE_WRITE);
	}
	loop_defer(loop_of(w), &w->tidy);
	loop_timer(loop_of(w), &w->pace, 0); /* we are called between two turns of the loop */
}

bool writeback_is_sending(const struct writeback *w)
{
	return w->finishing && !w->finished;
}

/* --- its beginning --- */

static int watch_path(const struct writeback *w, const char *path)
{
	int wd = inotify_add_watch(w->watch.fd, path, IN_MODIFY | IN_CLOSE_WRITE);

	return wd < 0 ? -errno : wd;
}

/* To watch a file asks for the right to read it, which its owner may have denied himself. */
static int watch_copy(const struct writeback *w, int copy)
{
	struct tree_fd_path path = tree_fd_path(copy);
	int wd = watch_path(w, path.text);
	struct stat st;

	if (wd != -EACCES || fstat(copy, &st) < 0 || chmod(path.text, st.st_mode | S_IRUSR) < 0)
		return wd;
	wd = watch_path(w, path.text);
	chmod(path.text, st.st_mode & ALLPERMS);
	return wd;
}

/* What the copy has is what the target has. */
static int know_content(struct writeback_file *f, uint64_t size)
{
	cleanup_fd int fd = -1;

	if (f->sent.blind || !size)
		return sent_know(&f->sent, fd, size);
	fd = tree_open_copy(&f->wb->tracer->fs.tree, f->copy, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? fd : sent_know(&f->sent, fd, size);
}

/* Whoever may read the file has what is in it. */
static bool is_blind(uint32_t want)
{
	return want & FILE_APPEND && !(want & FILE_READ);
}

static void pass_init(struct writeback_file *f, struct pass *p)
{
	*p = (struct pass){ .file = f };
	mux_source_init(&p->source, pass_more);
}

static int file_start(struct writeback_file *f, int path_fd, const char *path, bool cut)
{
	struct writeback *w = f->wb;
	int r;

	f->copy = fcntl(path_fd, F_DUPFD_CLOEXEC, 0);
	if (f->copy < 0)
		return -errno;
	f->record = writeback_record_new(w, path, f->sent.handle);
	if (!f->record)
		return -ENOMEM;
	f->wd = watch_copy(w, f->copy);
	if (f->wd < 0)
		return f->wd;
	r = htab_add(&w->by_watch, &f->node, (uint64_t)f->wd);
	if (r < 0)
		return r;
	f->size = f->base = cut ? 0 : size_of(f);
	return know_content(f, f->size);
}

static int file_new(struct writeback *w, struct tree_node *node, int path_fd, const char *path,
	uint32_t handle, uint32_t want)
{
	struct writeback_file *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	*f = (struct writeback_file){ .wb = w, .copy = -1, .wd = -1, .copy_node = node };
	f->sent.handle = handle;
	f->sent.append = want & FILE_APPEND;
	f->sent.blind = is_blind(want);
	pass_init(f, &f->pass[0]);
	pass_init(f, &f->pass[1]);
	list_init(&f->changed);
	list_append(&w->files, &f->link);
	r = file_start(f, path_fd, path, want & FILE_TRUNC);
	if (r < 0) {
		writeback_file_free(f);
		return r;
	}
	f->mappable = want & FILE_READ;
	node->writeback = f;
	if (f->size != size_of(f))
		note_event(f, IN_CLOSE_WRITE);
	return 0;
}

/* How it is written to from here on: of who appends and who does not the latter decides. */
static int join(struct writeback_file *f, uint32_t want)
{
	f->mappable = f->mappable || want & FILE_READ;
	f->sent.append = f->sent.append && want & FILE_APPEND;
	if (!f->sent.blind || is_blind(want))
		return 0;
	f->sent.blind = false;
	writeback_stop_passes(f);
	return know_content(f, f->sent.size);
}

/* The target's file is empty; what was sent before that may have come after it. */
static int begin_anew(struct writeback_file *f)
{
	int r = 0;

	f->base = 0;
	if (f->state == HANDLE_OPEN)
		sent_cut(&f->sent, 0);
	else
		r = know_content(f, 0);
	note_event(f, IN_MODIFY);
	return r;
}

/* One handle is enough. */
static int file_opened_again(struct writeback_file *f, uint32_t handle, uint32_t want)
{
	int r = f->state == HANDLE_GONE ? -EIO : join(f, want);

	if (r == 0 && want & FILE_TRUNC)
		r = begin_anew(f);
	writeback_close_handle(f->wb, handle);
	if (r == 0 && f->state == HANDLE_AWAY)
		writeback_open_again(f);
	return r;
}

int writeback_opened(struct writeback *w, struct tree_node *node, int path_fd, const char *path,
	uint32_t handle, uint32_t want)
{
	int r;

	if (node->writeback)
		return file_opened_again(node->writeback, handle, want);
	tree_written(node);
	r = file_new(w, node, path_fd, path, handle, want);
	if (r < 0)
		writeback_close_handle(w, handle);
	return r;
}

/* --- the guest's calls --- */

/* Also of a copy that has no name any more. */
struct writeback_file *writeback_file_of(const struct writeback *w, int fd)
{
	const struct tree *tree = &w->tracer->fs.tree;
	const struct tree_node *node = NULL;
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_dev == tree->dev)
		node = tree_node_by_ino(tree, st.st_ino);
	return node ? node->writeback : NULL;
}

bool writeback_truncate(struct writeback *w, int fd, uint64_t size, int *result)
{
	struct writeback_file *f = writeback_file_of(w, fd);

	if (!f || !f->sent.blind)
		return false;
	*result = ftruncate(fd, (off_t)size) < 0 ? -errno : 0;
	if (*result == 0) {
		f->base = MIN(f->base, size);
		sent_cut(&f->sent, size);
		note_event(f, IN_MODIFY);
	}
	return true;
}

void writeback_process_ends(struct writeback *w)
{
	list_for_each (l, &w->files) {
		struct writeback_file *f = list_entry(l, struct writeback_file, link);

		if (!f->mappable)
			continue;
		if (f->size <= WRITEBACK_EXACT)
			writeback_pass(f, true);
		else
			owe(f, OWED_SURELY);
	}
}

/* --- the run --- */

int writeback_init(struct writeback *w, struct tracer *tr)
{
	cleanup_fd int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int r;

	*w = (struct writeback){ .tracer = tr, .watch.fd = -1 };
	list_init(&w->files);
	list_init(&w->changed);
	list_init(&w->records);
	timer_init(&w->pace, at_pace);
	deferred_init(&w->tidy, tidy);
	if (fd < 0)
		return -errno;
	r = loop_add(&tr->loop, &w->watch, fd, EPOLLIN, on_events);
	if (r == 0)
		take_fd(&fd);
	return r;
}

void writeback_done(struct writeback *w)
{
	int fd = w->watch.fd;

	if (fd < 0)
		return;
	list_for_each_safe (l, &w->files) {
		struct writeback_file *f = list_entry(l, struct writeback_file, link);

		writeback_file_lost(f);
		writeback_file_free(f);
	}
	writeback_records_done(w);
	timer_cancel(&w->pace);
	list_del(&w->tidy.link);
	loop_del(loop_of(w), &w->watch);
	close_fd(&fd);
	htab_done(&w->by_watch);
}

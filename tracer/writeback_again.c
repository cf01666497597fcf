/* Theory of operation. With the link the agent's handles are gone. For each file it is asked at
 * once to be opened again where its copy has its name, which is the first that the agent hears on a
 * new link (remote.h): before what the guest has asked meanwhile. It goes on if it is as we have
 * left it: the same file (device and inode), and each block of it as it was sent last, or as the
 * copy has it. It may end earlier, if not before what is known to have arrived: what was on its way
 * to its end then is sent again. A change in place that was on its way and did not arrive cannot be
 * told from one that somebody else has made, and counts as such.
 *
 * Of a file that is only added to it does not matter what is in it, unless something was on its
 * way: then what lies behind the bytes that have arrived is compared.
 *
 * A file that does not go on is cut off: its copy is the guest's descriptors' alone, and the next
 * open of that name gets another one. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tree_parts.h"
#include "util.h"
#include "writeback_parts.h"

struct again {
	struct remote_query query;
	struct writeback_file *file;
	struct sent_check check;
};

/* Where the copy is now, in the target's words; false: it has no name. */
static bool find_copy(const struct writeback_file *f, char path[static PATH_MAX])
{
	const struct tree *tree = &f->wb->tracer->fs.tree;
	ssize_t n = readlink(tree_fd_path(f->copy).text, path, PATH_MAX - 1);
	cleanup_fd int fd = -1;
	const char *name;

	if (n < 0)
		return false;
	path[n] = '\0';
	name = tree_virtual(tree, path);
	if (!name)
		return false;
	memmove(path, name, strlen(name) + 1);
	fd = tree_at(tree, path);
	return fd >= 0 && tree_node(tree, fd) == f->copy_node;
}

/* --- files that do not go on --- */

void writeback_again_drop(struct writeback_file *f)
{
	struct again *a = f->again;

	f->again = NULL;
	if (!a)
		return;
	if (a->query.found)
		writeback_close_handle(f->wb, a->query.id);
	remote_drop(&a->query);
	close_fd(&a->check.fd);
	free(a);
}

void writeback_file_lost(struct writeback_file *f)
{
	if (f->state != HANDLE_GONE && (f->behind || f->sent.unsure || writeback_has_unsent(f)))
		writeback_failed(f->wb, f->record, ENOTCONN);
	writeback_again_drop(f);
	writeback_stop_passes(f);
	f->state = HANDLE_GONE;
}

static void cut_off(struct writeback_file *f, int error)
{
	char path[PATH_MAX];

	writeback_failed(f->wb, f->record, error);
	f->state = HANDLE_GONE;
	if (find_copy(f, path))
		tree_replace(&f->wb->tracer->fs.tree, path);
	loop_defer(loop_of(f->wb), &f->wb->tidy);
}

/* --- files that do --- */

static void go_on(struct writeback_file *f, uint32_t handle)
{
	f->sent.handle = f->record->handle = handle;
	f->state = HANDLE_OPEN;
	sent_sure(&f->sent);
	writeback_pass(f, true);
}

/* error: errno. When the link was lost again, the next one is as good. */
static void over(struct again *a, int error)
{
	struct writeback_file *f = a->file;
	uint32_t handle = a->query.id;
	bool has_handle = a->query.found;

	close_fd(&a->check.fd);
	free(a);
	f->again = NULL;
	if (error && has_handle)
		writeback_close_handle(f->wb, handle);
	if (!error)
		go_on(f, handle);
	else if (link_is_up(&f->wb->tracer->link))
		cut_off(f, error);
	else if (link_may_return(&f->wb->tracer->link))
		writeback_open_again(f);
}

static bool is_that_file(const struct writeback_file *f, const struct remote_found *found)
{
	const struct file_attr *was = &f->copy_node->attr;

	return S_ISREG(found->attr->mode) && found->attr->dev == was->dev &&
	       found->attr->ino == was->ino;
}

static void on_found(struct remote_query *q, int error, const struct remote_found *found)
{
	struct again *a = container_of(q, struct again, query);
	bool wants_content = q->msg.file_open.want & FILE_CONTENT;

	if (!error && (!is_that_file(a->file, found) ||
			      (wants_content && found->content == FILE_NOTHING)))
		error = ESTALE;
	if (error)
		remote_drop(q);
	if (error || found->content != FILE_BYTES)
		over(a, error);
}

static void on_data(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n)
{
	struct again *a = container_of(q, struct again, query);

	sent_check_data(&a->check, &a->file->sent, offset, p, n);
}

static void on_end(struct remote_query *q, int error, uint64_t size, uint64_t version)
{
	struct again *a = container_of(q, struct again, query);

	(void)version;
	if (!error && !sent_check_end(&a->check, &a->file->sent, size))
		error = ESTALE;
	over(a, error);
}

static const struct remote_ops again_ops = { .found = on_found, .data = on_data, .end = on_end };

static uint32_t want_of(const struct sent *s)
{
	uint32_t want = FILE_WRITE | FILE_NOFOLLOW;

	if (s->append)
		want |= FILE_APPEND;
	return !s->blind || s->unsure ? want | FILE_CONTENT : want;
}

static int ask(struct again *a, const char *path)
{
	struct writeback_file *f = a->file;
	uint64_t from = sent_check_from(&f->sent);

	a->query.ops = &again_ops;
	a->check.at = from;
	a->check.fd = tree_open_copy(&f->wb->tracer->fs.tree, f->copy, O_RDONLY | O_CLOEXEC);
	if (a->check.fd < 0)
		return a->check.fd;
	return remote_open(&f->wb->tracer->fs.remote, &a->query, want_of(&f->sent), 0,
		from ? 0 : f->copy_node->version, from, path);
}

void writeback_open_again(struct writeback_file *f)
{
	struct again *a;
	char path[PATH_MAX];
	int r = -ENOMEM;

	writeback_again_drop(f);
	if (!find_copy(f, path)) {
		cut_off(f, ENOENT);
		return;
	}
	a = calloc(1, sizeof(*a));
	if (a) {
		a->file = f;
		r = ask(a, path);
	}
	if (r == 0) {
		f->again = a;
		return;
	}
	if (a)
		close_fd(&a->check.fd);
	free(a);
	cut_off(f, -r);
}

/* --- the link --- */

/* The target's file was removed, and goes with the handle: nobody else can see the copy. */
static bool is_nameless(const struct writeback_file *f)
{
	return f->state == HANDLE_OPEN && f->copy_node->gone && f->copy_node->attr.nlink <= 1;
}

static void put_away(struct writeback_file *f)
{
	if (f->state != HANDLE_OPEN)
		return;
	f->behind = f->behind || writeback_has_unsent(f);
	writeback_stop_passes(f);
	f->state = HANDLE_AWAY;
	if (f->sent.unsure)
		f->copy_node->version = 0;
	writeback_open_again(f);
}

static void leave_handles(struct writeback *w, void (*leave)(struct writeback_file *f))
{
	list_for_each_safe (l, &w->files) {
		struct writeback_file *f = list_entry(l, struct writeback_file, link);

		if (is_nameless(f))
			writeback_file_free(f);
		else
			leave(f);
	}
}

void writeback_link_broken(struct writeback *w)
{
	if (w->watch.fd >= 0)
		leave_handles(w, put_away);
}

void writeback_link_lost(struct writeback *w)
{
	if (w->watch.fd < 0)
		return;
	leave_handles(w, writeback_file_lost);
	w->finished = w->finishing;
}

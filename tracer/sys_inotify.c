/* inotify_add_watch(2): the guest's inotify instance watches the copy, and the agent the file, so
 * that what happens there happens to the copy (fs_watch.c). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "fetch.h"
#include "fs.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

struct watching {
	struct fetch fetch;
	struct call *call;
	char *path;
	uint32_t want; /* enum file_want */
	bool watched;  /* by the agent */
	int inotify;   /* the guest's */
	struct deferred release;
};

static void watching_free(struct deferred *d)
{
	struct watching *w = container_of(d, struct watching, release);

	fetch_release(&w->fetch);
	close_fd(&w->inotify);
	free(w->path);
	free(w);
}

static void watching_over(struct watching *w)
{
	loop_defer(&w->fetch.fs->tracer->loop, &w->release);
}

static void watching_cancel(struct call *c)
{
	struct watching *w = c->data;

	fetch_drop(&w->fetch);
	watching_over(w);
}

static int64_t watch_copy(const struct watching *w)
{
	const struct fetch *f = &w->fetch;
	char copy[PATH_MAX];
	int wd;

	if (tree_kernel_path(&f->fs->tree, f->path, copy) > sizeof(copy))
		return -ENAMETOOLONG;
	wd = inotify_add_watch(w->inotify, copy, (uint32_t)w->call->arg[2]);
	return wd < 0 ? -errno : wd;
}

static void answer(struct watching *w, int64_t result)
{
	w->call->cancel = NULL;
	call_return(w->call, result);
	watching_over(w);
}

/* The agent watches from here on. What was before is seen now, and is no news to the guest. */
static int fetch_again(struct watching *w)
{
	struct fetch *f = &w->fetch;
	const struct tree_node *node = tree_node(&f->fs->tree, f->copy);

	w->watched = true;
	fs_watch(&f->fs->watches, f->copy, f->path, true);
	if (node && node->has_content && !node->writeback)
		w->want |= FILE_READ | FILE_CONTENT;
	fetch_release(f);
	return fetch_start(f, w->want, 0, 0, w->path);
}

static void fetched(struct fetch *f, int error)
{
	struct watching *w = container_of(f, struct watching, fetch);
	int r = error ? -error : 0;

	if (r == 0 && !w->watched) {
		r = fetch_again(w);
		if (r == 0)
			return;
	}
	answer(w, r < 0 ? r : watch_copy(w));
}

static void watch_remote(struct call *c, int inotify, const struct fs_name *n)
{
	struct watching *w = calloc(1, sizeof(*w));
	int r = -ENOMEM;

	if (!w) {
		close(inotify);
		call_return(c, r);
		return;
	}
	w->call = c;
	w->inotify = inotify;
	w->want = FILE_LIST | (c->arg[2] & IN_DONT_FOLLOW ? FILE_NOFOLLOW : 0) |
		  (c->arg[2] & IN_ONLYDIR ? FILE_DIRECTORY : 0);
	w->path = strdup(n->full);
	deferred_init(&w->release, watching_free);
	fetch_init(&w->fetch, &c->tracer->fs, fetched);
	if (w->path)
		r = fetch_start(&w->fetch, w->want, 0, 0, w->path);
	if (r == 0)
		call_park(c, false, watching_cancel, w);
	else
		answer(w, r);
}

void sys_inotify_add_watch(struct call *c)
{
	bool follow = !(c->arg[2] & IN_DONT_FOLLOW);
	struct fs_name n;
	int fd, r = fs_name_get(c, (uint64_t)AT_FDCWD, 1, FS_READS, follow, &n);

	if (r < 0) {
		call_return(c, r);
		return;
	}
	if (!fs_is_remote(c, &n))
		return;
	fd = call_dup(c, c->arg[0]);
	if (fd < 0)
		call_return(c, fd);
	else
		watch_remote(c, fd, &n);
}

/* inotify_add_watch(2): the guest's inotify instance watches the copy, and the agent the file, so
 * that what happens there happens to the copy (fs_watch.c). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
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
	int inotify; /* the guest's */
	struct deferred release;
};

static void watching_free(struct deferred *d)
{
	struct watching *w = container_of(d, struct watching, release);

	fetch_release(&w->fetch);
	close_fd(&w->inotify);
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

static int64_t add_watch(int inotify, const char *path, uint64_t mask)
{
	int wd = inotify_add_watch(inotify, path, (uint32_t)mask);

	return wd < 0 ? -errno : wd;
}

static int64_t watch_copy(const struct watching *w)
{
	const struct fetch *f = &w->fetch;
	char copy[PATH_MAX];

	if (tree_kernel_path(&f->fs->tree, f->path, copy) > sizeof(copy))
		return -ENAMETOOLONG;
	return add_watch(w->inotify, copy, w->call->arg[2]);
}

static void fetched(struct fetch *f, int error)
{
	struct watching *w = container_of(f, struct watching, fetch);

	w->call->cancel = NULL;
	call_return(w->call, error ? -error : watch_copy(w));
	if (!error)
		fs_watch(&f->fs->watches, f->copy, f->path, true);
	watching_over(w);
}

/* A directory's entries are there before it is watched: they are no news. */
static void watch_remote(struct call *c, int inotify, const struct fs_name *n)
{
	struct watching *w = calloc(1, sizeof(*w));
	uint32_t want = FILE_LIST | (c->arg[2] & IN_DONT_FOLLOW ? FILE_NOFOLLOW : 0) |
			(c->arg[2] & IN_ONLYDIR ? FILE_DIRECTORY : 0);
	int r;

	if (!w) {
		close(inotify);
		call_return(c, -ENOMEM);
		return;
	}
	w->call = c;
	w->inotify = inotify;
	deferred_init(&w->release, watching_free);
	fetch_init(&w->fetch, &c->tracer->fs, fetched);
	r = fetch_start(&w->fetch, want, 0, 0, 0, n->full);
	if (r == 0) {
		call_park(c, false, watching_cancel, w);
		return;
	}
	call_return(c, r);
	watching_over(w);
}

void sys_inotify_add_watch(struct call *c)
{
	struct fs_name n;
	bool here, remote;
	int fd, r = fs_name_get(c, (uint64_t)AT_FDCWD, c->arg[1], FS_READS, &n);

	if (r < 0) {
		call_return(c, r);
		return;
	}
	remote = fs_is_remote(c, &n, &here);
	if (!remote && !here)
		return;
	fd = call_dup(c, c->arg[0]);
	if (fd < 0) {
		call_return(c, fd);
	} else if (remote) {
		watch_remote(c, fd, &n);
	} else {
		call_return(c, add_watch(fd, n.path, c->arg[2]));
		close(fd);
	}
}

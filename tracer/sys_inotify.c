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
	struct fetch_call wait;
	char *path;
	uint32_t want; /* enum file_want */
	bool watched;  /* by the agent */
	int inotify;   /* the guest's */
};

static void watching_freed(struct fetch_call *wait)
{
	struct watching *w = container_of(wait, struct watching, wait);

	close_fd(&w->inotify);
	free(w->path);
}

static int64_t watch_copy(const struct watching *w)
{
	const struct fetch *f = &w->wait.fetch;
	char copy[PATH_MAX];
	int wd;

	if (tree_kernel_path(&f->fs->tree, f->path, copy) > sizeof(copy))
		return -ENAMETOOLONG;
	wd = inotify_add_watch(w->inotify, copy, (uint32_t)w->wait.call->arg[2]);
	return wd < 0 ? -errno : wd;
}

/* The agent watches from here on. What was before is seen now, and is no news to the guest. */
static void fetch_again(struct watching *w)
{
	struct fetch *f = &w->wait.fetch;
	const struct tree_node *node = tree_node(&f->fs->tree, f->copy);

	w->watched = true;
	fs_watch(&f->fs->watches, f->copy, f->path, true);
	if (node && node->has_content && !node->writeback)
		w->want |= FILE_READ | FILE_CONTENT;
	fetch_release(f);
	fetch_call_start(&w->wait, w->want, 0, 0, w->path);
}

static void fetched(struct fetch_call *wait, int error)
{
	struct watching *w = container_of(wait, struct watching, wait);

	if (!error && !w->watched)
		fetch_again(w);
	else
		call_return(fetch_call_end(wait), error ? -error : watch_copy(w));
}

/* inotify is taken. */
static void watch_remote(struct call *c, int inotify, const struct fs_name *n)
{
	struct watching *w = fetch_call_new(c, sizeof(*w), fetched, watching_freed);

	if (!w) {
		close(inotify);
		return;
	}
	w->inotify = inotify;
	w->want = FILE_LIST | (c->arg[2] & IN_DONT_FOLLOW ? FILE_NOFOLLOW : 0) |
		  (c->arg[2] & IN_ONLYDIR ? FILE_DIRECTORY : 0);
	w->path = strdup(n->full);
	if (w->path)
		fetch_call_start(&w->wait, w->want, 0, 0, w->path);
	else
		fetched(&w->wait, ENOMEM);
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

/* Theory of operation. The target knows nothing of the file until it has a name. Then one is made
 * there, which must be new, as linkat(2) wants it; what the guest has open becomes its copy, and
 * what it has written so far is sent like any change. */
#include "unnamed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fetch.h"
#include "fs.h"
#include "tracer.h"
#include "trap.h"
#include "util.h"

/* It may be mapped: it is open for both. */
#define WANT (FILE_READ | FILE_WRITE | FILE_CREATE | FILE_EXCL)

struct naming {
	struct fetch fetch;
	struct call *call;
	int file;
	struct deferred release;
};

/* What was made in the target is to go again. */
struct undoing {
	struct fs_wait wait;
	int result; /* of the call */
};

bool unnamed_is(const struct tree *t, int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_dev == t->dev && S_ISREG(st.st_mode);
}

static void naming_free(struct deferred *d)
{
	struct naming *g = container_of(d, struct naming, release);

	fetch_release(&g->fetch);
	close_fd(&g->file);
	free(g);
}

static void naming_over(struct naming *g)
{
	loop_defer(&g->fetch.fs->tracer->loop, &g->release);
}

static void naming_cancel(struct call *c)
{
	struct naming *g = c->data;

	fetch_drop(&g->fetch);
	naming_over(g);
}

static void undone(struct fs_wait *w, int error, const struct remote_found *found)
{
	(void)error;
	(void)found;
	call_return(w->call, container_of(w, struct undoing, wait)->result);
}

static void undo(struct call *c, const char *path, int result)
{
	struct undoing *u = fs_wait_new(c, sizeof(*u), undone);

	if (!u)
		return;
	u->result = result;
	fs_ask(&u->wait, FILE_OP_UNLINK, 0, 0, 0, path, NULL, 0);
}

/* The guest's file becomes the copy. 0 or -errno, and then the handle is closed. */
static int adopt(struct naming *g)
{
	struct fetch *f = &g->fetch;
	struct tree_node *node;
	int r = tree_adopt(&f->fs->tree, f->path, g->file, &node);

	if (r < 0)
		fetch_close_handle(f);
	else
		r = writeback_opened(&f->fs->writeback, node, g->file, f->path, f->query.id,
			f->want | FILE_TRUNC);
	return r;
}

static void made(struct fetch *f, int error)
{
	struct naming *g = container_of(f, struct naming, fetch);
	int r = error ? -error : adopt(g);

	g->call->cancel = NULL;
	if (r < 0 && !error)
		undo(g->call, f->path, r);
	else
		call_return(g->call, r);
	naming_over(g);
}

static void make(struct call *c, int fd, const struct stat *st, const char *path)
{
	struct naming *g = calloc(1, sizeof(*g));
	int r = -ENOMEM;

	if (g) {
		fetch_init(&g->fetch, &c->tracer->fs, made);
		deferred_init(&g->release, naming_free);
		g->call = c;
		g->file = fd;
		r = fetch_start(&g->fetch, WANT, st->st_mode & 07777, 0, path);
	}
	if (r == 0) {
		call_park(c, false, naming_cancel, g);
		return;
	}
	call_return(c, r);
	if (g)
		naming_free(&g->release);
	else
		close_fd(&fd);
}

static void looked(struct fs_wait *w, int error, const struct remote_found *found)
{
	(void)found;
	call_return(w->call, error == ENOENT ? -EXDEV : error ? -error : -EEXIST);
}

/* Its first name is not known any more, so that it can get no second one. */
static void refuse_second(struct call *c, const char *path)
{
	struct fs_wait *w = fs_wait_new(c, sizeof(*w), looked);

	if (w)
		fs_ask(w, FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, path, NULL, 0);
}

void unnamed_link(struct call *c, int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && !st.st_nlink) {
		make(c, fd, &st, path);
		return;
	}
	close(fd);
	refuse_second(c, path);
}

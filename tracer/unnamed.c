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
	struct fetch_call wait;
	int file; /* the guest's */
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

static void naming_freed(struct fetch_call *wait)
{
	struct naming *g = container_of(wait, struct naming, wait);

	close_fd(&g->file);
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
	struct fetch *f = &g->wait.fetch;
	struct tree_node *node;
	int r = tree_adopt(&f->fs->tree, f->path, g->file, &node);

	if (r < 0)
		fetch_close_handle(f);
	else
		r = writeback_opened(&f->fs->writeback, node, g->file, f->path, f->query.id,
			f->want | FILE_TRUNC);
	return r;
}

static void made(struct fetch_call *wait, int error)
{
	int r = error ? -error : adopt(container_of(wait, struct naming, wait));
	struct call *c = fetch_call_end(wait);

	if (r < 0 && !error)
		undo(c, wait->fetch.path, r);
	else
		call_return(c, r);
}

/* fd is taken. */
static void make(struct call *c, int fd, const struct stat *st, const char *path)
{
	struct naming *g = fetch_call_new(c, sizeof(*g), made, naming_freed);

	if (!g) {
		close(fd);
		return;
	}
	g->file = fd;
	fetch_call_start(&g->wait, WANT, st->st_mode & 07777, 0, path);
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

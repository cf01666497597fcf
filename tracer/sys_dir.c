/* The directory in which the guest stands. To go there the kernel gets the copy's own path, or a
 * name of ours for it where that would be too long. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"
#include "mem.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

static void chdir_to(struct call *c, const char *path)
{
	const struct call_change change = {
		.args = 1,
		.pointers = 1,
		.bytes = path,
		.n = strlen(path) + 1,
	};

	call_rewrite(c, &change);
}

/* The way is too long to be written: the guest goes through our descriptor. */
static void chdir_through(struct call *c, int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	chdir_to(c, path);
	c->lent = fd;
}

static void enter_directory(struct call *c, const struct remote_found *found)
{
	struct fs *fs = &c->tracer->fs;
	int fd = fs_put(fs, found, NULL);
	char path[PATH_MAX];

	if (fd < 0) {
		call_return(c, fd);
		return;
	}
	if (tree_kernel_path(&fs->tree, found->path, path) > PATH_MAX) {
		chdir_through(c, fd);
		return;
	}
	close(fd);
	chdir_to(c, path);
}

static void chdir_answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	if (error)
		call_return(w->call, -error);
	else
		enter_directory(w->call, found);
}

void sys_chdir(struct call *c)
{
	struct fs_name n;
	struct fs_wait *w;
	int r = fs_name_get(c, (uint64_t)AT_FDCWD, 0, FS_READS, true, &n);

	if (r < 0) {
		call_return(c, r);
		return;
	}
	if (!fs_is_remote(c, &n))
		return;
	w = fs_wait_new(c, sizeof(*w), chdir_answered);
	if (w)
		fs_park(w, remote_open(&w->fs->remote, &w->query,
				   FILE_PATH | FILE_DIRECTORY | FILE_EXEC, 0, 0, 0, n.full));
}

void sys_getcwd(struct call *c)
{
	struct fs_name n;
	size_t size;
	int64_t r;

	if (!fs_name_of_fd(c, (uint64_t)AT_FDCWD, &n)) {
		call_continue(c);
		return;
	}
	size = strlen(n.path) + 1;
	r = size > c->arg[1] ? -ERANGE : mem_write(c->task->tid, c->arg[0], n.path, size);
	call_return(c, r < 0 ? r : (int64_t)size);
}

/* Where the tree lives, and how it goes. A supervisor holds a lock on its directory as long as it
 * lives, so that one which is not locked is left over and may be removed. That may happen to a new
 * one as well, before it is locked: then it is made anew.
 *
 * A guest of root's may become another user, and has then to go its own way to the copies, which
 * have the owners and modes of the target's files. So root's directories can be searched by all,
 * and not be read: who knows the name may pass, and the name is 128 bits of chance. Who may see it
 * in /proc is the guest's own user.
 *
 * A tree is removed without recursion: a directory that is not empty is moved up to the top, and
 * emptied there. So its depth costs nothing, neither stack nor descriptors. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree.h"
#include "tree_parts.h"
#include "util.h"

/* How often a directory that another supervisor removes, thinking it left over, is made anew. */
#define TRIES 16

/* --- removing --- */

struct sweep {
	int top;
	unsigned moved; /* names of what was moved there */
	struct tree *tree;
	bool stays;
};

bool tree_move(int dir, const char *name, int to, unsigned *number)
{
	char moved[16];
	int r;

	do {
		snprintf(moved, sizeof(moved), "%u", (*number)++);
		r = renameat2(dir, name, to, moved, RENAME_NOREPLACE);
	} while (r < 0 && errno == EEXIST);
	return r == 0;
}

/* True when it is gone from dir. */
static bool sweep_entry(struct sweep *s, int dir, const struct dirent *d)
{

	if (d->d_type != DT_DIR && unlinkat(dir, d->d_name, 0) == 0) {
		tree_name_gone(s->tree, d->d_ino);
		return true;
	}
	if (unlinkat(dir, d->d_name, AT_REMOVEDIR) == 0) {
		tree_name_gone(s->tree, d->d_ino);
		return true;
	}
	if (errno != ENOTEMPTY || dir == s->top)
		return false;
	return tree_move(dir, d->d_name, s->top, &s->moved);
}

static bool is_self_or_parent(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* How many entries have left the directory; -1: it cannot be read. */
static int sweep_pass(
	struct sweep *s, int dir, bool (*fn)(struct sweep *, int, const struct dirent *))
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), gone = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!d) {
		close_fd(&fd);
		return -1;
	}
	while ((entry = readdir(d))) {
		if (!is_self_or_parent(entry->d_name))
			gone += fn(s, dir, entry);
	}
	closedir(d);
	return gone;
}

/* An entry of the top; true when there is less beneath the top than before. */
static bool sweep_top(struct sweep *s, int top, const struct dirent *d)
{
	cleanup_fd int dir = -1;
	bool less;

	if (sweep_entry(s, top, d))
		return true;
	s->stays = true;
	dir = openat(top, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	less = dir >= 0 && sweep_pass(s, dir, sweep_entry) > 0;
	return less;
}

int tree_sweep(int dir, struct tree *t)
{
	struct sweep s = { .top = dir, .tree = t };
	int less;

	do {
		s.stays = false;
		less = sweep_pass(&s, dir, sweep_top);
	} while (less > 0);
	return less < 0 || s.stays ? -EBUSY : 0;
}

/* Those whose owner is no more. */
static bool sweep_stale(struct sweep *s, int parent, const struct dirent *d)
{
	cleanup_fd int fd = openat(
		parent, d->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	(void)s;
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && tree_sweep(fd, NULL) == 0 &&
	       unlinkat(parent, d->d_name, AT_REMOVEDIR) == 0;
}

/* --- a directory of our own --- */

/* The mode of a directory that others may pass through. */
#define PASSABLE (S_IRWXU | S_IXGRP | S_IXOTH)

static bool is_linked(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

/* A locked directory; -EAGAIN: someone was in the way. */
static int make_base(int parent, mode_t mode, char *name, size_t size)
{
	cleanup_fd int fd = -1;
	uint64_t random[2];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(name, size, "%d-%016" PRIx64 "%016" PRIx64, getpid(), random[0], random[1]);
	if (mkdirat(parent, name, 0) < 0 || fchmodat(parent, name, mode, 0) < 0)
		return errno == ENOENT || errno == EEXIST ? -EAGAIN : -errno;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -EAGAIN : -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return is_linked(fd) ? take_fd(&fd) : -EAGAIN;
}

/* --- a place for it --- */

struct place {
	const char *dir;
	bool is_ours; /* it has to be */
};

static int refuse(struct err *e, int error, const char *dir, const char *why)
{
	return err_set(e, error,
		"the target's files cannot be copied to %s: %s; name another directory with "
		"--fs-dir",
		dir, why);
}

/* The directory that the trees of one user share. */
static int open_shared(const struct place *p, mode_t mode, bool any, struct err *e)
{
	cleanup_fd int dir = open(p->dir, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct statvfs fs;
	struct stat st;
	char name[64];

	if (dir < 0 || fstat(dir, &st) < 0 || fstatvfs(dir, &fs) < 0)
		return refuse(e, -errno, p->dir, strerror(errno));
	if (p->is_ours && st.st_uid != geteuid())
		return refuse(e, -EPERM, p->dir, "it is another user's");
	if (!any && fs.f_flag & ST_NOEXEC)
		return refuse(e, -EACCES, p->dir, "files cannot be executed there");
	if (!any && mode & ~st.st_mode & S_IXOTH)
		return refuse(e, -EACCES, p->dir, "other users cannot go there");
	snprintf(name, sizeof(name), p->is_ours ? "mirrord-trace" : "mirrord-trace-%u", geteuid());
	if (mkdirat(dir, name, S_IRWXU) < 0 && errno != EEXIST)
		return refuse(e, -errno, p->dir, strerror(errno));
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return errno == ENOENT ? -EAGAIN : refuse(e, -errno, p->dir, strerror(errno));
	if (st.st_uid != geteuid() || st.st_mode & (S_IRWXG | S_IRWXO) & ~PASSABLE)
		return refuse(e, -EPERM, p->dir,
			"the directory mirrord-trace… there is another user's, or open to others");
	return fchmod(fd, mode) < 0 ? refuse(e, -errno, p->dir, strerror(errno)) : take_fd(&fd);
}

static int find_prefix(struct tree *t)
{
	ssize_t n = readlink(tree_fd_path(t->root).text, t->prefix, sizeof(t->prefix));

	if (n < 0)
		return -errno;
	if ((size_t)n >= sizeof(t->prefix))
		return -ENAMETOOLONG;
	t->prefix[n] = '\0';
	t->prefix_len = (size_t)n;
	return 0;
}

/* Whatever the umask, which is the guest's. */
static int make_dir(int base, const char *name, mode_t mode)
{
	cleanup_fd int fd = -1;

	if (mkdirat(base, name, mode) < 0)
		return -errno;
	fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 || fchmod(fd, mode) < 0 ? -errno : take_fd(&fd);
}

/* What is inside. */
static int furnish(struct tree *t)
{
	struct stat st;

	t->root = make_dir(t->base, "root", 0755);
	if (t->root < 0)
		return t->root;
	t->work = make_dir(t->base, "work", S_IRWXU);
	if (t->work < 0)
		return t->work;
	t->links = make_dir(t->base, "links", S_IRWXU);
	if (t->links < 0)
		return t->links;
	if (fstat(t->root, &st) < 0)
		return -errno;
	t->dev = st.st_dev;
	return find_prefix(t);
}

static void leave(struct tree *t, int parent)
{
	tree_sweep(t->base, NULL);
	unlinkat(parent, t->name, AT_REMOVEDIR);
	close_fd(&t->root);
	close_fd(&t->work);
	close_fd(&t->links);
	close_fd(&t->base);
}

static int settle_at(struct tree *t, const struct place *p, bool any, struct err *e)
{
	mode_t mode = t->privileged ? PASSABLE : S_IRWXU;
	cleanup_fd int parent = -1;
	int r = -EAGAIN;

	for (int i = 0; i < TRIES && r == -EAGAIN; i++) {
		close_fd(&parent);
		r = parent = open_shared(p, mode, any, e);
		if (r == -EAGAIN)
			continue;
		if (r < 0)
			return r; /* it was said */
		r = t->base = make_base(parent, mode, t->name, sizeof(t->name));
	}
	if (r < 0)
		return refuse(e, r, p->dir, strerror(-r));
	sweep_pass(&(struct sweep){ .top = parent }, parent, sweep_stale);
	r = furnish(t);
	if (r < 0) {
		leave(t, parent);
		return refuse(e, r, p->dir, strerror(-r));
	}
	return 0;
}

/* --- opening and closing --- */

static bool has_caps(void)
{
	static const unsigned needed[] = { CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER };
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		if (!(data[CAP_TO_INDEX(needed[i])].effective & CAP_TO_MASK(needed[i])))
			return false;
	}
	return true;
}

static const char *absolute(const char *variable)
{
	const char *value = getenv(variable);

	return value && *value == '/' ? value : NULL;
}

int tree_open(struct tree *t, const char *dir, uint64_t file_max, uint64_t bytes_max, struct err *e)
{
	const struct place named[] = { { dir, false }, { NULL, false } };
	const struct place usual[] = { { absolute("XDG_RUNTIME_DIR"), true },
		{ absolute("TMPDIR"), false }, { "/tmp", false } };
	int r = -ENOENT;

	*t = (struct tree){ .base = -1, .root = -1, .work = -1, .links = -1 };
	t->file_max = file_max;
	t->bytes_max = bytes_max;
	t->privileged = geteuid() == 0 && has_caps();
	if (dir)
		return settle_at(t, named, true, e);
	for (unsigned any = 0; any < 2; any++) {
		for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
			if (!usual[i].dir)
				continue;
			r = settle_at(t, &usual[i], any, e);
			if (r == 0)
				return 0;
		}
	}
	return r;
}

static void free_nodes(struct tree *t)
{
	struct hnode *n;

	while ((n = htab_any(&t->nodes))) {
		htab_del(&t->nodes, n);
		free(container_of(n, struct tree_node, node));
	}
	htab_done(&t->nodes);
	htab_done(&t->linked);
}

/* The directory that all trees of the user share goes with the last of them. */
static void leave_shared(char *prefix)
{
	for (int i = 0; i < 2; i++)
		*strrchr(prefix, '/') = '\0';
	rmdir(prefix);
}

void tree_close(struct tree *t)
{
	cleanup_fd int parent = -1;

	if (!t->prefix_len)
		return;
	parent = openat(t->base, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	leave(t, parent);
	leave_shared(t->prefix);
	free_nodes(t);
	t->prefix_len = 0;
}

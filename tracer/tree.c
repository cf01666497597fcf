/* Theory of operation. A copy is made under a name of its own in `work`, gets its owner, mode, size
 * and times, and is then renamed to its place: what stands at a path is always whole, and who has
 * the former copy open keeps that one. What is known of a copy (struct tree_node) is found by its
 * inode, which no other file can have as long as the copy has a name; when it loses its name, the
 * node goes.
 *
 * Paths come from the agent. They are canonical or refused, so that a walk from directory to
 * directory stays beneath the root; and where the kernel walks, it is told to. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tree_parts.h"
#include "util.h"

/* The name in `work` of a copy under construction. */
#define COMING "coming"

/* --- paths --- */

static bool is_dots(const char *name, size_t len)
{
	return (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.');
}

bool tree_is_component(const char *name, size_t len)
{
	return len && len <= NAME_MAX && !is_dots(name, len) && !memchr(name, '/', len) &&
	       !memchr(name, '\0', len);
}

bool tree_is_canonical(const char *path, size_t len)
{
	const char *end = path + len;

	if (!len || len > PROTO_FILE_PATH_MAX || *path != '/')
		return false;
	if (len == 1)
		return true;
	while (path < end) {
		const char *slash = memchr(path + 1, '/', (size_t)(end - path - 1));
		const char *next = slash ? slash : end;

		if (!tree_is_component(path + 1, (size_t)(next - path - 1)))
			return false;
		path = next;
	}
	return true;
}

static bool is_canonical(const char *path)
{
	return tree_is_canonical(path, strnlen(path, PROTO_FILE_PATH_MAX + 1));
}

const char *tree_virtual(const struct tree *t, const char *path)
{
	const char *rest = path + t->prefix_len;

	if (!t->prefix_len || strncmp(path, t->prefix, t->prefix_len) != 0)
		return NULL;
	if (!*rest)
		return "/";
	return *rest == '/' ? rest : NULL;
}

struct tree_fd_path tree_fd_path(int fd)
{
	struct tree_fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}

static int open_path(const struct tree *t, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC | flags, .resolve = resolve };
	int fd = (int)syscall(SYS_openat2, t->root, path, &how, sizeof(how));

	return fd < 0 ? -errno : fd;
}

/* An O_PATH descriptor beneath the root; path is canonical. */
static int resolve(const struct tree *t, const char *path, uint64_t flags)
{
	return open_path(t, path[1] ? path + 1 : ".", flags | O_NOFOLLOW,
		RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

size_t tree_kernel_path(const struct tree *t, const char *path, char to[static PATH_MAX])
{
	int n = snprintf(to, PATH_MAX, "%s%s", t->prefix, strcmp(path, "/") == 0 ? "" : path);

	return (size_t)n + 1;
}

int tree_at(const struct tree *t, const char *path)
{
	return is_canonical(path) ? resolve(t, path, 0) : -EINVAL;
}

int tree_walk(const struct tree *t, const char *path)
{
	return open_path(t, path, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

/* The directory part, and *last. 0 or -errno. */
static int split(const char *path, char dir[PATH_MAX], const char **last)
{
	const char *slash;

	if (!is_canonical(path))
		return -EINVAL;
	if (!path[1])
		return -EBUSY;
	slash = strrchr(path, '/');
	*last = slash + 1;
	memcpy(dir, path, (size_t)(*last - path));
	dir[slash > path ? slash - path : 1] = '\0';
	return 0;
}

/* The directory that holds it, and *last. */
static int open_parent(const struct tree *t, const char *path, const char **last)
{
	char dir[PATH_MAX];
	int r = split(path, dir, last);

	return r < 0 ? r : resolve(t, dir, O_DIRECTORY);
}

/* --- nodes --- */

struct tree_node *tree_node_by_ino(const struct tree *t, uint64_t ino)
{
	struct hnode *n = htab_find(&t->nodes, ino);

	return n ? container_of(n, struct tree_node, node) : NULL;
}

struct tree_node *tree_node(const struct tree *t, int fd)
{
	struct tree_node *node;
	struct stat st;

	if (fstat(fd, &st) < 0 || st.st_dev != t->dev)
		return NULL;
	node = tree_node_by_ino(t, st.st_ino);
	return node && !node->gone ? node : NULL;
}

static void node_free(struct tree *t, struct tree_node *node)
{
	htab_del(&t->nodes, &node->node);
	free(node);
}

/* Writeback holds its copy open, so that even then the inode is no other file's. */
static void node_gone(struct tree *t, struct tree_node *node)
{
	tree_drop_content(t, node);
	tree_links_drop(t, node);
	t->more -= node->more;
	node->more = 0;
	if (node->writeback)
		node->gone = true;
	else
		node_free(t, node);
}

void tree_name_gone(struct tree *t, uint64_t ino)
{
	struct tree_node *node = t ? tree_node_by_ino(t, ino) : NULL;

	if (!node || node->gone)
		return;
	if (!node->more) {
		node_gone(t, node);
		return;
	}
	node->more--;
	t->more--;
}

static void end_fills(struct tree_node *node)
{
	node->filling = false;
	node->fills++;
}

void tree_written(struct tree_node *node)
{
	if (node->filling)
		end_fills(node);
}

void tree_unwritten(struct tree *t, struct tree_node *node)
{
	node->writeback = NULL;
	node->writes = ++t->writes;
	end_fills(node);
	if (node->gone)
		node_free(t, node);
}

static int node_new(struct tree *t, uint64_t ino, struct tree_node **node)
{
	struct tree_node *n = tree_node_by_ino(t, ino);

	if (n) /* its copy was removed by someone else */
		node_gone(t, n);
	if (t->nodes.count + t->more >= TREE_COPIES_MAX)
		return -ENOSPC;
	n = calloc(1, sizeof(*n));
	if (!n || htab_add(&t->nodes, &n->node, ino) < 0) {
		free(n);
		return -ENOMEM;
	}
	n->ino = ino;
	*node = n;
	return 0;
}

void tree_said(struct tree *t, struct tree_node *node, const struct file_attr *attr)
{
	node->attr = *attr;
	node->listed = node->walked = false;
	node->seen_ns = now_ns();
	node->epoch = t->epoch;
}

void tree_drop_content(struct tree *t, struct tree_node *node)
{
	t->bytes -= node->held;
	node->held = 0;
	node->has_content = false;
	node->version = 0;
}

/* --- a copy's descriptors --- */

/* An owner's rights are asked for as anyone's; but he may change them. Not for fifos and devices:
 * to open one is to do something. */
int tree_reopen(int fd, int flags)
{
	struct tree_fd_path path = tree_fd_path(fd);
	int r = open(path.text, flags | O_CLOEXEC), error = errno;
	struct stat st;

	if (r >= 0 || error != EACCES)
		return r < 0 ? -error : r;
	if (fstat(fd, &st) < 0 || chmod(path.text, st.st_mode | S_IRWXU) < 0)
		return -error;
	r = open(path.text, flags | O_CLOEXEC);
	error = errno;
	chmod(path.text, st.st_mode & ALLPERMS);
	return r < 0 ? -error : r;
}

int tree_open_copy(const struct tree *t, int path_fd, int flags)
{
	struct tree_node *node;
	struct stat st;

	flags &= ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW);
	if (fstat(path_fd, &st) < 0)
		return -errno;
	if (flags & O_PATH)
		return tree_reopen(path_fd, flags);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -ENXIO;
	node = st.st_dev == t->dev ? tree_node_by_ino(t, st.st_ino) : NULL;
	if (node)
		node->opened = true;
	return tree_reopen(path_fd, flags);
}

/* A write lease is given to the only one who has the file open (fcntl(2)); mapped memory counts, a
 * descriptor with O_PATH does not. Who opens the file meanwhile, to execute it, waits until the
 * lease is given back; we are told by a signal, which by default would end us. */
static bool take_lease(int fd)
{
	return fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
}

bool tree_has_others(int fd)
{
	if (!take_lease(fd))
		return true;
	fcntl(fd, F_SETLEASE, F_UNLCK);
	return false;
}

bool tree_is_open(const struct tree *t, int path_fd)
{
	struct tree_node *node = tree_node(t, path_fd);
	cleanup_fd int fd = -1;

	if (node && !S_ISREG(node->attr.mode))
		return true;
	if (node && !node->opened && !(node->attr.mode & 0111))
		return false;
	fd = tree_reopen(path_fd, O_RDONLY | O_NONBLOCK);
	return fd < 0 || tree_has_others(fd);
}

/* --- attributes --- */

bool tree_attr_is_possible(const struct file_attr *attr)
{
	static const mode_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR,
		S_IFBLK };

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if ((attr->mode & ~(uint32_t)ALLPERMS) == types[i])
			return attr->size <= INT64_MAX;
	}
	return false;
}

static bool is_possible(const struct tree_entry *e)
{
	return tree_attr_is_possible(e->attr) &&
	       (!S_ISLNK(e->attr->mode) || (e->link_len && e->link_len < PATH_MAX &&
						   !memchr(e->link, '\0', e->link_len)));
}

/* We must be able to go through our own directories. */
static mode_t shown_mode(const struct tree *t, const struct file_attr *attr)
{
	return (attr->mode & ALLPERMS) | (S_ISDIR(attr->mode) && !t->privileged ? S_IRWXU : 0);
}

/* Without content: a hole of that size. */
static int resize(int fd, uint64_t size)
{
	cleanup_fd int w = tree_reopen(fd, O_WRONLY);

	if (w < 0)
		return w;
	return ftruncate(w, (off_t)size) < 0 ? -errno : 0;
}

/* In a user namespace not every owner can be set: EINVAL. True when it was. */
static bool set_owner(
	const struct tree *t, int fd, const struct stat *st, const struct file_attr *a)
{
	return t->privileged && (st->st_uid != a->uid || st->st_gid != a->gid) &&
	       fchownat(fd, "", a->uid, a->gid, AT_EMPTY_PATH) == 0;
}

static int set_times(int fd, const struct file_attr *attr)
{
	struct timespec times[2] = { timespec_of_ns(attr->atime), timespec_of_ns(attr->mtime) };

	return utimensat(fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

int tree_apply(const struct tree *t, int fd, const struct stat *st, const struct file_attr *attr,
	bool but_times)
{
	mode_t mode = shown_mode(t, attr), was = st->st_mode & ALLPERMS;

	if (set_owner(t, fd, st, attr))
		was &= ~(mode_t)(S_ISUID | S_ISGID); /* chown(2) takes them away */
	if (mode != was && !S_ISLNK(st->st_mode) && chmod(tree_fd_path(fd).text, mode) < 0)
		return -errno;
	if (but_times || timespec_to_ns(st->st_mtim) == attr->mtime)
		return 0;
	return set_times(fd, attr);
}

void tree_set_attr(struct tree *t, int path_fd, const struct file_attr *attr)
{
	struct tree_node *node = tree_node(t, path_fd);
	struct stat st;

	if (S_ISREG(attr->mode) && node && !node->has_content && !node->filling)
		resize(path_fd, attr->size);
	if (fstat(path_fd, &st) < 0 || tree_apply(t, path_fd, &st, attr, true) < 0)
		return;
	if (timespec_to_ns(st.st_atim) != attr->atime || timespec_to_ns(st.st_mtim) != attr->mtime)
		set_times(path_fd, attr);
}

int tree_keep_times(const struct tree *t, int dir)
{
	const struct tree_node *node;
	struct stat st;

	if (fstat(dir, &st) < 0)
		return -errno;
	node = tree_node_by_ino(t, st.st_ino);
	return node && node->seen_ns ? tree_apply(t, dir, &st, &node->attr, false) : 0;
}

/* --- coming and going --- */

/* In `work` stays what someone has mounted something on. */
int tree_discard(struct tree *t, int dir, const char *name, const struct stat *st)
{
	unsigned number = 0;

	if (!S_ISDIR(st->st_mode)) {
		if (unlinkat(dir, name, 0) < 0)
			return -errno;
	} else if (unlinkat(dir, name, AT_REMOVEDIR) < 0) {
		if (errno != ENOTEMPTY || !tree_move(dir, name, t->work, &number))
			return -errno;
		tree_sweep(t->work, t);
	}
	tree_name_gone(t, st->st_ino);
	return 0;
}

/* Most modes are as they should be from the beginning. */
static int make_file(struct tree *t, const struct tree_entry *e, uint64_t size)
{
	cleanup_fd int fd = openat(t->work, COMING, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
		e->attr->mode & ACCESSPERMS);

	if (fd < 0)
		return -errno;
	if (size && ftruncate(fd, (off_t)size) < 0 && !(errno == EFBIG && e->any_size))
		return -errno;
	return take_fd(&fd);
}

static int make_link(const struct tree *t, const struct tree_entry *e)
{
	char text[PATH_MAX];

	memcpy(text, e->link, e->link_len);
	text[e->link_len] = '\0';
	return symlinkat(text, t->work, COMING);
}

/* A new inode in `work`; a descriptor of it, or -errno. */
static int make(struct tree *t, const struct tree_entry *e)
{
	mode_t type = e->attr->mode & S_IFMT;
	int r;

	switch (type) {
	case S_IFREG:
		return make_file(t, e, e->attr->size);
	case S_IFDIR:
		r = mkdirat(t->work, COMING, S_IRWXU);
		break;
	case S_IFLNK:
		r = make_link(t, e);
		break;
	default:
		r = mknodat(t->work, COMING, type | S_IRUSR | S_IWUSR, (dev_t)e->attr->rdev);
		if (r < 0 && errno == EPERM)
			return make_file(t, e, 0);
	}
	if (r == 0)
		r = openat(t->work, COMING, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* What is in `work` becomes a copy, and gets its node. */
static int introduce(struct tree *t, int fd, const struct file_attr *attr, bool but_times,
	struct tree_node **node)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	r = tree_apply(t, fd, &st, attr, but_times);
	if (r == 0)
		r = node_new(t, st.st_ino, node);
	if (r == 0)
		tree_said(t, *node, attr);
	return r;
}

static int prepare(struct tree *t, const struct tree_entry *e, struct tree_node **node)
{
	cleanup_fd int fd = make(t, e);
	int r;

	*node = NULL;
	r = fd < 0 ? fd : introduce(t, fd, e->attr, false, node);
	if (r == 0)
		tree_links_follow(t, fd, *node);
	return r;
}

/* A copy with content keeps the size and the times that go with it; so does one that the guest
 * writes to. */
static int reshape(struct tree *t, int fd, struct stat *st, struct tree_node *node,
	const struct file_attr *attr)
{
	const struct file_attr *was = &node->attr;
	bool is_file = S_ISREG(st->st_mode) && S_ISREG(attr->mode);
	bool but_times = node->filling || node->writeback;
	int r;

	if (is_file && (node->has_content || node->writeback)) {
		but_times |= (uint64_t)st->st_size != attr->size;
		if (was->size != attr->size || was->mtime != attr->mtime ||
			was->ctime != attr->ctime)
			node->version = 0;
	} else if (is_file && !node->filling && (uint64_t)st->st_size != attr->size) {
		r = resize(fd, attr->size);
		if (r < 0 || fstat(fd, st) < 0)
			return r < 0 ? r : -errno;
	}
	return tree_apply(t, fd, st, attr, but_times);
}

/* The same copy, of which something else is said. */
static int update(struct tree *t, int fd, struct stat *st, struct tree_node *node,
	const struct file_attr *attr)
{
	int r = reshape(t, fd, st, node, attr);

	if (r < 0)
		return r;
	tree_said(t, node, attr);
	tree_links_follow(t, fd, node);
	return 0;
}

/* A copy that has got one more name, in `work`. */
static int renew(struct tree *t, struct tree_node *node, const struct file_attr *attr)
{
	cleanup_fd int fd = openat(t->work, COMING, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return update(t, fd, &st, node, attr);
}

/* Nothing of it stays in `work`. */
static int give_up(struct tree *t, struct tree_node *node, int error)
{
	if (unlinkat(t->work, COMING, 0) < 0)
		unlinkat(t->work, COMING, AT_REMOVEDIR);
	if (node)
		tree_name_gone(t, node->ino);
	return error;
}

static int make_directory(struct tree *t, int dir, const char *name)
{
	static const struct file_attr unknown = { .mode = S_IFDIR | 0755 };
	cleanup_fd int fd = -1;
	struct tree_node *node;
	struct stat st;
	int r;

	if (mkdirat(dir, name, 0755) < 0)
		return -errno;
	fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	r = tree_apply(t, fd, &st, &unknown, true);
	if (r == 0)
		r = node_new(t, st.st_ino, &node);
	if (r < 0) {
		unlinkat(dir, name, AT_REMOVEDIR);
		return r;
	}
	node->attr = unknown;
	tree_keep_times(t, dir);
	return take_fd(&fd);
}

static int put_directory(struct tree *t, int dir, const char *name, const struct tree_entry *e,
	struct tree_node **node)
{
	cleanup_fd int fd = make_directory(t, dir, name);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	*node = tree_node_by_ino(t, st.st_ino);
	r = update(t, fd, &st, *node, e->attr);
	return r < 0 ? r : 1;
}

/* The copy in `work` comes to its place. */
static int put_in_place(struct tree *t, int dir, const char *name, bool is_made)
{
	if (is_made && linkat(t->work, COMING, dir, name, 0) == 0)
		return unlinkat(t->work, COMING, 0) < 0 ? -errno : 0;
	return renameat(t->work, COMING, dir, name) < 0 ? -errno : 0;
}

/* Another copy at a place, or another name of one; st is of what is there, or NULL. */
static int put_new(struct tree *t, int dir, const char *name, const struct stat *st,
	const struct tree_entry *e, struct tree_node **node)
{
	int r;

	if (st && (S_ISDIR(st->st_mode) || S_ISDIR(e->attr->mode))) {
		r = tree_discard(t, dir, name, st);
		if (r < 0)
			return r;
		st = NULL;
	}
	if (!st && e->is_made && S_ISDIR(e->attr->mode))
		return put_directory(t, dir, name, e, node);
	*node = tree_links_find(t, e->attr);
	if (*node && tree_links_name(t, *node, t->work, COMING))
		r = renew(t, *node, e->attr);
	else
		r = prepare(t, e, node);
	if (r == 0)
		r = put_in_place(t, dir, name, !st && e->is_made);
	if (r < 0)
		return give_up(t, *node, r);
	if (st)
		tree_name_gone(t, st->st_ino);
	return 1;
}

static bool has_text(int fd, const struct tree_entry *e)
{
	char text[PATH_MAX];
	ssize_t n = readlinkat(fd, "", text, sizeof(text));

	return n >= 0 && (size_t)n == e->link_len && memcmp(text, e->link, e->link_len) == 0;
}

/* The copy is one of that file. A directory that was made on the way to another copy may be any. */
static bool is_of(int fd, const struct tree_node *node, const struct tree_entry *e)
{
	const struct file_attr *was = &node->attr, *is = e->attr;

	if ((was->mode ^ is->mode) & S_IFMT)
		return false;
	if (S_ISDIR(is->mode) && !was->dev && !was->ino)
		return true;
	return was->dev == is->dev && was->ino == is->ino &&
	       (!S_ISLNK(is->mode) || has_text(fd, e));
}

/* A file that has names elsewhere has its copy there; but what is open here remains here. */
static bool is_elsewhere(
	const struct tree *t, const struct tree_node *node, const struct file_attr *attr)
{
	const struct tree_node *other = tree_links_find(t, attr);

	return other && other != node && !node->opened && !node->writeback;
}

int tree_put_at(struct tree *t, int dir, const char *name, const struct tree_entry *e,
	struct tree_node **node)
{
	cleanup_fd int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (!is_possible(e))
		return -EPROTO;
	if (fd < 0)
		return errno == ENOENT ? put_new(t, dir, name, NULL, e, node) : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_dev != t->dev)
		return -EBUSY; /* something is mounted there */
	*node = tree_node_by_ino(t, st.st_ino);
	if (*node && is_of(fd, *node, e) && !is_elsewhere(t, *node, e->attr))
		return update(t, fd, &st, *node, e->attr);
	return put_new(t, dir, name, &st, e, node);
}

/* --- directories on the way --- */

/* From a directory to the next, which is made if something else is there. */
static int step(struct tree *t, int dir, const char *name)
{
	int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd >= 0)
		return fd;
	if (errno == ENOTDIR) {
		int r = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0
				? -errno
				: tree_discard(t, dir, name, &st);

		return r < 0 ? r : make_directory(t, dir, name);
	}
	return errno == ENOENT ? make_directory(t, dir, name) : -errno;
}

/* The directory at a canonical path, whatever has to be made; path is written to. */
static int walk(struct tree *t, char *path)
{
	cleanup_fd int dir = resolve(t, "/", O_DIRECTORY);
	char *rest = path, *name;

	while (dir >= 0 && (name = strsep(&rest, "/"))) {
		int next;

		if (!*name)
			continue;
		next = step(t, dir, name);
		close(dir);
		dir = next;
	}
	return take_fd(&dir);
}

static int make_parent(struct tree *t, const char *path, const char **last)
{
	char dir[PATH_MAX];
	int r = split(path, dir, last), fd;

	if (r < 0)
		return r;
	fd = resolve(t, dir, O_DIRECTORY);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		fd = walk(t, dir);
	return fd;
}

/* --- what the tree offers --- */

/* The root is always the same copy. */
static int put_root(struct tree *t, const struct tree_entry *e, struct tree_node **node)
{
	struct stat st;
	int r = 0;

	if (!is_possible(e) || !S_ISDIR(e->attr->mode))
		return -EPROTO;
	if (fstat(t->root, &st) < 0)
		return -errno;
	*node = tree_node_by_ino(t, st.st_ino);
	if (!*node)
		r = node_new(t, st.st_ino, node);
	return r < 0 ? r : update(t, t->root, &st, *node, e->attr);
}

int tree_put(struct tree *t, const char *path, const struct file_attr *attr, const char *link,
	size_t len, struct tree_node **node)
{
	struct tree_entry e = { .attr = attr, .link = link, .link_len = len };
	struct tree_node *n = NULL;
	cleanup_fd int dir = -1;
	const char *last;
	int r;

	if (path[0] == '/' && !path[1]) {
		r = put_root(t, &e, &n);
	} else {
		dir = make_parent(t, path, &last);
		r = dir < 0 ? dir : tree_put_at(t, dir, last, &e, &n);
		if (r > 0)
			r = tree_keep_times(t, dir);
	}
	if (r == 0 && node)
		*node = n;
	return r;
}

/* As open_parent(), and st is that of the copy, which is there. */
static int open_parent_of_copy(struct tree *t, const char *path, const char **last, struct stat *st)
{
	cleanup_fd int dir = open_parent(t, path, last);

	if (dir >= 0 && fstatat(dir, *last, st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return take_fd(&dir);
}

int tree_replace(struct tree *t, const char *path)
{
	const char *last;
	struct stat st;
	cleanup_fd int dir = open_parent_of_copy(t, path, &last, &st);
	struct tree_entry e = { 0 };
	struct tree_node *node;
	struct file_attr attr;
	int r;

	if (dir < 0)
		return dir;
	node = tree_node_by_ino(t, st.st_ino);
	if (!node)
		return -ETXTBSY;
	attr = node->attr;
	e.attr = &attr;
	tree_links_drop(t, node);
	r = put_new(t, dir, last, &st, &e, &node);
	return r > 0 ? tree_keep_times(t, dir) : r;
}

/* The copy of what was made for it tells what it is of. */
static int adopt(struct tree *t, int fd, const struct file_attr *attr, struct tree_node **node)
{
	int r;

	if (linkat(AT_FDCWD, tree_fd_path(fd).text, t->work, COMING, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	r = introduce(t, fd, attr, true, node);
	if (r == 0)
		(*node)->has_content = (*node)->opened = true;
	return r;
}

int tree_adopt(struct tree *t, const char *path, int fd, struct tree_node **node)
{
	const char *last;
	struct stat st;
	cleanup_fd int dir = open_parent_of_copy(t, path, &last, &st);
	const struct tree_node *former;
	int r;

	if (dir < 0)
		return dir;
	former = tree_node_by_ino(t, st.st_ino);
	if (!former || !S_ISREG(st.st_mode))
		return -ESTALE;
	*node = NULL;
	r = adopt(t, fd, &former->attr, node);
	if (r == 0)
		r = put_in_place(t, dir, last, false);
	if (r < 0)
		return give_up(t, *node, r);
	tree_name_gone(t, st.st_ino);
	return tree_keep_times(t, dir);
}

static void remove_at(struct tree *t, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		tree_discard(t, dir, name, &st);
}

void tree_remove(struct tree *t, const char *path)
{
	const char *last;
	cleanup_fd int dir = open_parent(t, path, &last);

	if (dir >= 0)
		remove_at(t, dir, last);
}

/* What cannot be moved is removed, and asked for when it is wanted. */
void tree_rename(struct tree *t, const char *from, const char *to, bool exchange)
{
	const char *old_name, *new_name;
	cleanup_fd int old_dir = open_parent(t, from, &old_name);
	cleanup_fd int new_dir = make_parent(t, to, &new_name);

	if (strcmp(from, to) == 0)
		return;
	if (old_dir < 0 || new_dir < 0) {
		tree_remove(t, from);
		tree_remove(t, to);
		return;
	}
	if (exchange && renameat2(old_dir, old_name, new_dir, new_name, RENAME_EXCHANGE) == 0)
		return;
	remove_at(t, new_dir, new_name);
	if (exchange || renameat(old_dir, old_name, new_dir, new_name) < 0)
		remove_at(t, old_dir, old_name);
}

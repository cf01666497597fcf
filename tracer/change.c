#include "change.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "tracer.h"
#include "trap.h"
#include "unnamed.h"
#include "util.h"

/* A change that waits for the agent. */
struct changing {
	struct fs_wait wait;
	struct change change;
	char text[];
};

/* --- what was done in the target is done to the copies --- */

static void copy_attr(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	struct file_attr attr = *found->attr;
	struct tree_node *node;
	cleanup_fd int fd = fs_put(fs, found, &node);
	struct stat st;

	(void)ch;
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (node->writeback)
		attr.size = (uint64_t)st.st_size; /* the copy's is newer */
	tree_set_attr(&fs->tree, fd, &attr);
}

/* Who has it open sees it cut, as in the target. */
static void copy_size(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	cleanup_fd int copy = tree_at(&fs->tree, found->path);
	struct tree_node *node = copy < 0 ? NULL : tree_node(&fs->tree, copy);
	cleanup_fd int fd = node ? tree_open_copy(&fs->tree, copy, O_WRONLY | O_CLOEXEC) : -1;
	int r;

	if (fd < 0)
		return;
	node->version = 0;
	if (!writeback_truncate(&fs->writeback, fd, ch->a, &r))
		r = ftruncate(fd, (off_t)ch->a);
	if (r == 0)
		copy_attr(fs, ch, found);
}

static void copy_new(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	tree_put(&fs->tree, found->path, found->attr, ch->text, ch->text_len, NULL);
}

static void copy_removed(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)ch;
	tree_remove(&fs->tree, found->path);
}

static void copy_renamed(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	tree_rename(&fs->tree, found->path, found->more, ch->a & RENAME_EXCHANGE);
}

/* The first name's copy learns that there is another, and becomes the copy for both. A second name
 * of a symbolic link is asked for when it is wanted. */
static void copy_linked(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)ch;
	if (!S_ISLNK(found->attr->mode) &&
		tree_put(&fs->tree, found->path, found->attr, NULL, 0, NULL) == 0)
		tree_put(&fs->tree, found->more, found->attr, NULL, 0, NULL);
}

static void copy_nothing(struct fs *fs, const struct change *ch, const struct remote_found *found)
{
	(void)fs;
	(void)ch;
	(void)found;
}

/* --- the kinds --- */

static const struct kind {
	enum file_op op;
	bool is_place;  /* it is about the name: a link there is not followed */
	bool has_two;   /* paths */
	bool makes;     /* what is not there yet */
	uint64_t flags; /* AT_*, those that the kernel knows */
	void (*copy)(struct fs *fs, const struct change *ch, const struct remote_found *found);
} kinds[] = {
	{ FILE_OP_CHMOD, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .copy = copy_attr },
	{ FILE_OP_CHOWN, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .copy = copy_attr },
	{ FILE_OP_UTIMENS, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH, .copy = copy_attr },
	{ FILE_OP_TRUNCATE, .copy = copy_size },
	{ FILE_OP_SETXATTR, .flags = AT_SYMLINK_NOFOLLOW, .copy = copy_nothing },
	{ FILE_OP_REMOVEXATTR, .flags = AT_SYMLINK_NOFOLLOW, .copy = copy_nothing },
	{ FILE_OP_MKDIR, .is_place = true, .makes = true, .copy = copy_new },
	{ FILE_OP_MKNOD, .is_place = true, .makes = true, .copy = copy_new },
	{ FILE_OP_SYMLINK, .is_place = true, .makes = true, .copy = copy_new },
	{ FILE_OP_UNLINK, .is_place = true, .copy = copy_removed },
	{ FILE_OP_RMDIR, .is_place = true, .copy = copy_removed },
	{ FILE_OP_RENAME, .is_place = true, .has_two = true, .copy = copy_renamed },
	{ FILE_OP_LINK, .has_two = true, .flags = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH,
		.copy = copy_linked },
};

static const struct kind *kind_of(enum file_op op)
{
	const struct kind *k = kinds;

	while (k->op != op)
		k++;
	return k;
}

/* A link at the path's end is not followed. */
static bool is_itself(const struct change *ch)
{
	return kind_of(ch->op)->is_place || ch->flags & AT_SYMLINK_NOFOLLOW;
}

/* --- asking --- */

static void answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	struct changing *p = container_of(w, struct changing, wait);

	if (!error) {
		w->fs->tree.epoch++;
		kind_of(p->change.op)->copy(w->fs, &p->change, found);
	}
	call_return(w->call, -error);
}

static void ask_agent(struct call *c, const struct change *ch, const char *path, const char *to)
{
	struct changing *p = fs_wait_new(c, sizeof(*p) + ch->text_len + 1, answered);

	if (!p)
		return;
	p->change = *ch;
	if (ch->text_len)
		memcpy(p->text, ch->text, ch->text_len);
	p->change.text = p->text;
	fs_ask(&p->wait, ch->op, ch->flags & AT_SYMLINK_NOFOLLOW ? FILE_NOFOLLOW : 0, ch->a, ch->b,
		path, to ? to : ch->text, to ? strlen(to) : ch->text_len);
}

/* A file of the target that may not be written to. */
static bool may_write(const struct call *c, const struct fs_name *n)
{
	return fs_policy_decide(c->tracer->fs.policy, n->path, FS_WRITES, NULL) == FS_REMOTE;
}

/* The file has a name in the tree; one that has none any more is between the guest and its copy.
 * With O_PATH it is only good for calls that take a path. */
static bool is_of_target(const struct call *c, const struct change *ch)
{
	cleanup_fd int fd = -1;

	if ((int)ch->dirfd == AT_FDCWD)
		return true;
	fd = call_dup(c, ch->dirfd);
	if (fd < 0 || (ch->is_fd && fcntl(fd, F_GETFL) & O_PATH))
		return false;
	return tree_node(&c->tracer->fs.tree, fd);
}

static void change_fd(struct call *c, const struct change *ch)
{
	struct fs_name n;

	if (!fs_name_of_fd(c, ch->dirfd, &n) || !is_of_target(c, ch))
		call_continue(c);
	else if (!may_write(c, &n))
		call_return(c, -EROFS);
	else
		ask_agent(c, ch, n.full, NULL);
}

/* --- one path --- */

static int get_name(struct call *c, const struct change *ch, struct fs_name *n)
{
	return fs_name_get(c, ch->dirfd, ch->path, FS_WRITES, !is_itself(ch), n);
}

/* --- what is made here where the target is seen --- */

struct making {
	struct fs_wait wait;
	struct fs_name name;
};

static void seen_answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	(void)found;
	if (error)
		fs_here(w->call, &container_of(w, struct making, wait)->name, NULL);
	else
		call_return(w->call, -EEXIST);
}

/* The name is read from the target, and written here: what the guest sees there is in the way, so
 * that `mkdir -p` has nothing to make. False: it is another call, or place. */
static bool ask_what_is_seen(struct call *c, const struct change *ch, const struct fs_name *n)
{
	const struct fs_policy *policy = c->tracer->fs.policy;
	struct making *m;

	if (!kind_of(ch->op)->makes || n->where != FS_LOCAL ||
		fs_policy_decide(policy, n->path, FS_READS, NULL) != FS_REMOTE)
		return false;
	m = fs_wait_new(c, sizeof(*m), seen_answered);
	if (m) {
		m->name = *n;
		fs_ask(&m->wait, FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, n->path, NULL, 0);
	}
	return true;
}

static void change_one(struct call *c, const struct change *ch)
{
	struct fs_name n;
	int r = get_name(c, ch, &n);

	if (r < 0)
		call_return(c, r);
	else if (n.is_empty && ch->flags & AT_EMPTY_PATH)
		change_fd(c, ch);
	else if (!ask_what_is_seen(c, ch, &n) && fs_is_remote(c, &n))
		ask_agent(c, ch, n.full, NULL);
}

/* --- two paths --- */

/* The first may be a descriptor, of a file that has a name. */
static int get_first(struct call *c, const struct change *ch, struct fs_name *n)
{
	int r = get_name(c, ch, n);

	if (r == 0 && n->is_empty && ch->flags & AT_EMPTY_PATH)
		fs_name_of_fd(c, ch->dirfd, n);
	return r;
}

static void across_answered(struct fs_wait *w, int error, const struct remote_found *found)
{
	(void)found;
	call_return(w->call, error ? -error : -EXDEV);
}

/* From here to the target, or back: what is not there is no matter of file systems. */
static void refuse_across(struct call *c, const struct change *ch, const struct fs_name *n)
{
	struct fs_wait *w;
	struct stat st;

	if (n->where == FS_LOCAL) {
		call_return(c, lstat(n->path, &st) < 0 ? -errno : -EXDEV);
		return;
	}
	w = fs_wait_new(c, sizeof(*w), across_answered);
	if (w)
		fs_ask(w, FILE_OP_STAT, is_itself(ch) ? FILE_NOFOLLOW : 0, 0, 0, n->full, NULL, 0);
}

static void change_two_names(
	struct call *c, const struct change *ch, const struct fs_name *n, const struct fs_name *to)
{
	bool nameless = n->is_empty && !(ch->flags & AT_EMPTY_PATH);

	if (nameless || to->is_empty || n->where == FS_NOT_FOUND || to->where == FS_NOT_FOUND)
		call_return(c, -ENOENT);
	else if (n->where != to->where && !*n->path)
		call_return(c, -EXDEV); /* it is a local file on a way that is too long for us */
	else if (n->where != to->where)
		refuse_across(c, ch, n);
	else if (n->where == FS_REMOTE)
		ask_agent(c, ch, n->full, to->full);
	else
		fs_here(c, n, to);
}

/* What is open without a name that is known, or -1. */
static int open_nameless(struct call *c, const struct change *ch, const struct fs_name *n)
{
	if (n->where != FS_LOCAL || ch->op != FILE_OP_LINK)
		return -1;
	if (n->is_empty)
		return ch->flags & AT_EMPTY_PATH ? call_dup(c, ch->dirfd) : -1;
	return ch->flags & AT_SYMLINK_NOFOLLOW ? -1 : fs_proc_open(c, n->path);
}

/* linkat(2) of what O_TMPFILE has made; false: it is something else. */
static bool link_unnamed(
	struct call *c, const struct change *ch, const struct fs_name *n, const struct fs_name *to)
{
	cleanup_fd int fd = to->where == FS_REMOTE ? open_nameless(c, ch, n) : -1;

	if (fd < 0)
		return false;
	if (unnamed_is(&c->tracer->fs.tree, fd))
		unnamed_link(c, take_fd(&fd), to->full);
	else
		call_return(c, -EXDEV);
	return true;
}

static void change_two(struct call *c, const struct change *ch)
{
	struct fs_name n, to;
	int r = get_first(c, ch, &n);

	if (r == 0)
		r = fs_name_get(c, ch->to_dirfd, ch->to_path, FS_WRITES, false, &to);
	if (r)
		call_return(c, r);
	else if (!link_unnamed(c, ch, &n, &to))
		change_two_names(c, ch, &n, &to);
}

void change_do(struct call *c, const struct change *ch)
{
	const struct kind *k = kind_of(ch->op);

	if (ch->flags & (ch->is_fd ? ~0ull : ~k->flags))
		call_continue(c); /* the kernel refuses it before it looks at a path */
	else if (ch->is_fd)
		change_fd(c, ch);
	else if (k->has_two)
		change_two(c, ch);
	else
		change_one(c, ch);
}

/* Theory of operation. The guest's paths are absolute to us: a relative one begins where proc(5)
 * says that its directory is. A directory of the target is a copy in the tree, so such a place
 * names itself (tree_virtual()), and chdir, dup, fork, descriptors passed on need no book.
 *
 * Whose a path is, is decided by its words alone. Symbolic links are followed by who has the file:
 * this machine's kernel, or the agent under the target's root. */
#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "launch.h"
#include "mem.h"
#include "path.h"
#include "proc_path.h"
#include "procfs.h"
#include "sysdef.h"
#include "task.h"
#include "tracer.h"
#include "util.h"

/* --- paths --- */

/* base and what follows it; false: too long. */
static bool join(char to[static PATH_MAX], const char *base, const char *rest)
{
	size_t n = strlen(base);
	bool slash = *rest && *rest != '/' && (!n || base[n - 1] != '/');
	int len = snprintf(to, PATH_MAX, "%s%s%s", base, slash ? "/" : "", rest);

	return len < PATH_MAX;
}

/* What a link of proc(5) says; false: there is none. */
static bool read_proc_link(const char *link, char to[static PATH_MAX])
{
	ssize_t n = readlink(link, to, PATH_MAX - 1);

	if (n < 0)
		return false;
	to[n] = '\0';
	return true;
}

/* What was removed is called so by proc(5), behind its path; but a file may have that name. */
static bool is_removed(const char *link, const char *says)
{
	static const char mark[] = " (deleted)";
	size_t n = strlen(says), len = strlen(mark);
	struct stat is, named;

	if (n < len || strcmp(says + n - len, mark) != 0)
		return false;
	return stat(link, &is) < 0 || lstat(says, &named) < 0 || is.st_ino != named.st_ino ||
	       is.st_dev != named.st_dev;
}

/* Where a relative path begins. In a directory that was removed nothing is found by its name: the
 * kernel knows what there is still. */
static bool read_base(const struct call *c, uint64_t dirfd, char to[static PATH_MAX])
{
	char link[PROC_PATH_LINK];

	proc_path_base(c->task->tid, (int)dirfd, link);
	return read_proc_link(link, to) && *to == '/' && !is_removed(link, to);
}

bool fs_proc_link(const struct call *c, const char *path, char target[static PATH_MAX])
{
	char link[PROC_PATH_LINK];
	const char *rest;

	if (strncmp(path, "/proc/", 6) != 0 || !proc_path_parse(path, c->task->tid, link, &rest) ||
		*rest)
		return false;
	return read_proc_link(link, target);
}

int fs_proc_open(const struct call *c, const char *path)
{
	char link[PROC_PATH_LINK];
	const char *rest;

	if (!proc_path_parse(path, c->task->tid, link, &rest) || *rest)
		return -1;
	return open(link, O_PATH | O_CLOEXEC);
}

/* An absolute path that leads into the tree, as the target has it. follow: also if it is itself one
 * of /proc's links. */
static bool leads_into_tree(
	const struct call *c, const char *path, bool follow, char to[static PATH_MAX])
{
	const struct tree *t = &c->tracer->fs.tree;
	const char *virtual = tree_virtual(t, path), *rest;
	char link[PROC_PATH_LINK], target[PATH_MAX];

	if (virtual)
		return join(to, virtual, "");
	if (!proc_path_parse(path, c->task->tid, link, &rest) || (!*rest && !follow) ||
		!read_proc_link(link, target) || is_removed(link, target))
		return false;
	virtual = tree_virtual(t, target);
	return virtual && join(to, virtual, rest);
}

/* The absolute path that the guest means. 1: it is known; 0: the kernel knows better; -errno. */
static int make_absolute(
	struct call *c, uint64_t dirfd, const char *given, bool follow, struct fs_name *n)
{
	char base[PATH_MAX];
	const char *virtual;

	if (*given == '/') {
		n->displaced = leads_into_tree(c, given, follow, n->full);
		if (!n->displaced)
			strcpy(n->full, given);
		return 1;
	}
	if (!read_base(c, dirfd, base))
		return 0;
	virtual = tree_virtual(&c->tracer->fs.tree, base);
	n->displaced = virtual;
	if (join(n->full, virtual ? virtual : base, given))
		return 1;
	return virtual ? -ENAMETOOLONG : 0;
}

/* What says of a path that it is a directory: a slash at its end, or a dot behind one. */
static const char *tail_of(const char *path)
{
	const char *tail = strrchr(path, '/');

	return path[1] && (strcmp(tail, "/") == 0 || strcmp(tail, "/.") == 0) ? tail : "";
}

/* A file of name resolution is known by its name, whatever the way there; as a directory it is
 * none. */
static int decide_name_file(struct fs *fs, struct fs_name *n)
{
	int made;

	if (*tail_of(n->full))
		return 0;
	if (name_copies_find(&fs->names, n->path))
		strcpy(n->full, n->path);
	made = name_copies_made(&fs->names, n->path);
	n->made = made > 0;
	if (n->made)
		n->where = FS_LOCAL;
	return MIN(made, 0);
}

/* --fs-map: another path, or the same. */
static int map(struct call *c, struct fs_name *n)
{
	char to[PATH_MAX], tail[sizeof("/.")];

	if (!fs_policy_map(c->tracer->fs.policy, n->path, to, sizeof(to)))
		return 0;
	n->displaced = true;
	strcpy(n->path, to);
	strcpy(tail, tail_of(n->full));
	return join(n->full, to, tail) ? 0 : -ENAMETOOLONG;
}

/* An absolute path goes up from a directory of the target, like "/data/../etc": the guest's kernel
 * may have no way there. */
static bool leaves_target(const struct fs_policy *policy, const char *path)
{
	char dir[PATH_MAX];

	for (const char *up = strstr(path, "/.."); up; up = strstr(up + 1, "/..")) {
		if (up[3] && up[3] != '/')
			continue;
		memcpy(dir, path, (size_t)(up - path));
		dir[up - path] = '\0';
		path_normalize(dir);
		if (fs_policy_decide(policy, dir, FS_READS, NULL) == FS_REMOTE)
			return true;
	}
	return false;
}

static int decide(struct call *c, enum fs_access access, struct fs_name *n)
{
	const char *rule = "";
	int r;

	path_drop_dots(n->full);
	strcpy(n->path, n->full);
	path_normalize(n->path);
	r = map(c, n);
	if (r < 0)
		return r;
	n->where = fs_policy_decide(c->tracer->fs.policy, n->path, access, &rule);
	if (n->where == FS_LOCAL && !n->displaced)
		n->displaced = leaves_target(c->tracer->fs.policy, n->full);
	if (n->where != FS_LOCAL)
		call_note(c, "%s: %s", n->where == FS_REMOTE ? "remote" : "not found", rule);
	return n->where == FS_REMOTE && access == FS_READS ? decide_name_file(&c->tracer->fs, n)
							   : 0;
}

int fs_name_get(struct call *c, uint64_t dirfd, unsigned arg, enum fs_access access, bool follow,
	struct fs_name *n)
{
	char given[PATH_MAX];
	int r = mem_read_string(c->task->tid, c->arg[arg], given, sizeof(given));

	n->where = FS_LOCAL;
	n->arg = arg;
	n->is_empty = r == 0;
	n->displaced = n->made = false;
	*n->path = '\0';
	if (r <= 0)
		return r == -ESRCH ? -EFAULT : r;
	r = make_absolute(c, dirfd, given, follow, n);
	if (r > 0)
		r = decide(c, access, n);
	return r < 0 ? r : 0;
}

bool fs_name_of_fd(struct call *c, uint64_t fd, struct fs_name *n)
{
	char place[PATH_MAX];
	const char *virtual;

	if (((int)fd < 0 && (int)fd != AT_FDCWD) || !read_base(c, fd, place))
		return false;
	virtual = tree_virtual(&c->tracer->fs.tree, place);
	if (!virtual)
		return false;
	*n = (struct fs_name){ .where = FS_REMOTE, .displaced = true };
	strcpy(n->full, virtual);
	strcpy(n->path, virtual);
	return true;
}

bool fs_is_remote(struct call *c, const struct fs_name *n)
{
	if (n->where == FS_NOT_FOUND)
		call_return(c, -ENOENT);
	else if (n->where == FS_LOCAL)
		fs_here(c, n, NULL);
	return n->where == FS_REMOTE;
}

void fs_here(struct call *c, const struct fs_name *n, const struct fs_name *to)
{
	const struct fs_name *const names[] = { n, to };
	char bytes[ARRAY_SIZE(names) * PATH_MAX];
	struct call_change change = { .bytes = bytes };

	for (size_t i = 0; i < ARRAY_SIZE(names) && names[i]; i++) {
		const struct fs_name *name = names[i];

		if (!name->displaced)
			continue;
		change.args |= 1U << name->arg;
		change.arg[name->arg] = change.n;
		change.n += (size_t)snprintf(bytes + change.n, PATH_MAX, "%s%s", name->path,
				    tail_of(name->full)) +
			    1;
	}
	change.pointers = change.args;
	if (change.args)
		call_rewrite(c, &change);
	else
		call_continue(c);
}

int fs_xattr_name(const struct call *c, char name[static FS_XATTR_NAME])
{
	int n = mem_read_string(c->task->tid, c->arg[1], name, FS_XATTR_NAME);

	if (n == 0 || n == -ENAMETOOLONG)
		return -ERANGE;
	return n == -ESRCH ? -EFAULT : n;
}

unsigned fs_guest_umask(const struct call *c)
{
	unsigned long long mask;

	return procfs_status(c->task->tid, "Umask", 8, &mask) ? (unsigned)mask : 022;
}

/* --- asking --- */

static void wait_free(struct deferred *d)
{
	free(container_of(d, struct fs_wait, release));
}

static void wait_over(struct fs_wait *w)
{
	loop_defer(&w->fs->tracer->loop, &w->release);
}

static void wait_found(struct remote_query *q, int error, const struct remote_found *found)
{
	struct fs_wait *w = container_of(q, struct fs_wait, query);

	w->call->cancel = NULL;
	w->answer(w, error, found);
	wait_over(w);
}

static const struct remote_ops wait_ops = { .found = wait_found };

void *fs_wait_new(struct call *c, size_t size,
	void (*answer)(struct fs_wait *w, int error, const struct remote_found *found))
{
	struct fs_wait *w = calloc(1, size);

	if (!w) {
		call_return(c, -ENOMEM);
		return NULL;
	}
	w->query.ops = &wait_ops;
	w->fs = &c->tracer->fs;
	w->call = c;
	w->answer = answer;
	deferred_init(&w->release, wait_free);
	return w;
}

static void wait_cancel(struct call *c)
{
	struct fs_wait *w = c->data;

	remote_drop(&w->query);
	if (w->dropped)
		w->dropped(w);
	wait_over(w);
}

void fs_park(struct fs_wait *w, int r)
{
	if (r < 0) {
		call_return(w->call, r);
		if (w->dropped)
			w->dropped(w);
		wait_over(w);
		return;
	}
	call_park(w->call, false, wait_cancel, w);
}

void fs_ask(struct fs_wait *w, enum file_op op, uint32_t flags, uint64_t a, uint64_t b,
	const char *path, const void *second, size_t n)
{
	fs_park(w, remote_op(&w->fs->remote, &w->query, op, flags, a, b, path, second, n));
}

/* Who hears from the target may have been told of a change. What comes after that on the link was
 * looked up after it. */
static void count_epoch(struct fs *fs)
{
	uint64_t heard = fs->tracer->link.mux.heard;

	fs->tree.epoch += heard != fs->heard;
	fs->heard = heard;
}

int fs_put(struct fs *fs, const struct remote_found *found, struct tree_node **node)
{
	struct tree_node *n;
	int r;

	count_epoch(fs);
	r = tree_put(&fs->tree, found->path, found->attr, found->more, found->more_len, &n);
	if (r < 0)
		return r;
	if (n->writes > found->writes)
		n->seen_ns = 0; /* that is not in what was said */
	if (node)
		*node = n;
	return tree_at(&fs->tree, found->path);
}

/* Each entry is believed once, with all that is asked of it in one go. */
static bool is_on_walk(const struct fs_walk *w, const struct tree_node *node)
{
	return is_within(w->at_ns, FS_WALK_PAUSE_MS) && is_within(node->seen_ns, FS_WALK_MS) &&
	       (!node->walked || w->ino == node->ino);
}

static bool is_fresh(struct fs *fs, struct tree_node *node)
{
	count_epoch(fs);
	if (!node->listed || !node->seen_ns || node->epoch != fs->tree.epoch ||
		(!is_within(node->seen_ns, FS_FRESH_MS) && !is_on_walk(&fs->walk, node)))
		return false;
	fs->walk = (struct fs_walk){ node->ino, now_ns() };
	node->walked = true;
	return true;
}

static int fresh_name_file(struct fs *fs, const char *path, bool follow)
{
	const struct name_copy *f = name_copies_find(&fs->names, path);

	return f && (follow || (f->canonical && strcmp(f->canonical, path) == 0))
		       ? name_copy_at(f, false)
		       : -1;
}

int fs_fresh(struct fs *fs, const struct fs_name *n, bool follow)
{
	bool plain = strcmp(n->full, n->path) == 0;
	int name_file = plain ? fresh_name_file(fs, n->path, follow) : -1;
	cleanup_fd int fd = plain ? tree_at(&fs->tree, n->path) : -1;
	struct tree_node *node = fd < 0 ? NULL : tree_node(&fs->tree, fd);

	if (name_file >= 0)
		return name_file;
	if (!node || !is_fresh(fs, node) || (follow && S_ISLNK(node->attr.mode)))
		return -1;
	return take_fd(&fd);
}

const struct file_attr *fs_fresh_attr(struct fs *fs, const struct fs_name *n, bool follow)
{
	cleanup_fd int fd = fs_fresh(fs, n, follow);
	const struct tree_node *node = fd < 0 ? NULL : tree_node(&fs->tree, fd);

	return node && !node->writeback ? &node->attr : NULL;
}

/* --- a run --- */

static int compile_policy(struct fs *fs, struct err *e)
{
	const struct tracer *tr = fs->tracer;
	const struct context *cx = &tr->context;
	char cwd[PATH_MAX], found[PATH_MAX], program[PATH_MAX], file[PATH_MAX];
	const char *given = tr->cfg->argv[0];
	bool searched = !strchr(given, '/') && launch_search(given, found) == 0;
	const char *name = searched ? found : given;
	/* Or it is a file of the target. */
	bool named = strchr(name, '/') && access(name, F_OK) == 0;
	struct fs_facts facts = {
		.home = getenv("HOME"),
		.cwd = getcwd(cwd, sizeof(cwd)),
		.program = named && join(program, *name == '/' ? "" : cwd, name) ? program : NULL,
		.program_file = named ? realpath(name, file) : NULL,
		.tmpdir = getenv("TMPDIR"),
		.mounts = cx->mounts,
		.has_files = cx->has_files,
		.names = tr->cfg->dns,
	};

	if (!facts.cwd)
		facts.cwd = "/";
	return fs_policy_compile(&fs->policy, tr->cfg, &facts, e);
}

int fs_check(const struct config *cfg, struct err *e)
{
	const struct fs_facts nothing = { .cwd = "/", .has_files = true };
	struct fs_policy *p = NULL;
	int r = fs_policy_compile(&p, cfg, &nothing, e);

	fs_policy_free(p);
	return r;
}

int fs_start(struct fs *fs, struct tracer *tr, struct err *e)
{
	const struct config *cfg = tr->cfg;
	int r;

	fs->tracer = tr;
	remote_init(&fs->remote, tr);
	fs_watches_init(&fs->watches, fs);
	if (!fs_policy_may_be_remote(cfg))
		return 0;
	r = compile_policy(fs, e);
	if (r < 0)
		return r;
	r = tree_open(&fs->tree, cfg->fs_dir, cfg->fs_file_max, cfg->fs_tree_max, e);
	if (r < 0)
		return r;
	r = writeback_init(&fs->writeback, tr);
	if (r < 0)
		return err_set(e, r, "changes of files cannot be watched: %s", strerror(-r));
	fs->on = true;
	r = cfg->dns ? name_copies_start(&fs->names, fs) : 0;
	return r < 0 ? err_set(e, r, "the files of name resolution: %s", strerror(-r)) : 0;
}

void fs_done(struct fs *fs)
{
	if (fs->on)
		writeback_done(&fs->writeback);
	if (fs->tracer) {
		name_copies_done(&fs->names);
		fs_watches_done(&fs->watches);
		remote_done(&fs->remote);
	}
	tree_close(&fs->tree);
	fs_policy_free(fs->policy);
	*fs = (struct fs){ 0 };
}

void fs_link_lost(struct fs *fs)
{
	fs_watch_link_lost(&fs->watches);
	remote_link_lost(&fs->remote);
	if (fs->on)
		writeback_link_lost(&fs->writeback);
}

void fs_link_broken(struct fs *fs)
{
	if (fs->on)
		writeback_link_broken(&fs->writeback);
}

void fs_link_back(struct fs *fs)
{
	remote_link_back(&fs->remote);
	fs_watch_link_back(&fs->watches);
	name_copies_ask(&fs->names);
}

bool fs_message(struct fs *fs, const struct msg *m)
{
	switch (m->type) {
	case MSG_file_changed:
		fs_watch_message(&fs->watches, m);
		return true;
	case MSG_file_failed:
		if (fs->on)
			writeback_message(&fs->writeback, m);
		return true;
	case MSG_file_done:
	case MSG_file_synced:
		remote_message(&fs->remote, m); /* or nobody wants to know any more */
		return true;
	default:
		return false;
	}
}

void fs_before_send(struct fs *fs)
{
	if (fs->on)
		writeback_before_send(&fs->writeback);
}

void fs_process_ends(struct fs *fs)
{
	if (fs->on)
		writeback_process_ends(&fs->writeback);
}

void fs_finish(struct fs *fs)
{
	if (fs->on)
		writeback_finish(&fs->writeback);
}

bool fs_is_sending(const struct fs *fs)
{
	return fs->on && writeback_is_sending(&fs->writeback);
}

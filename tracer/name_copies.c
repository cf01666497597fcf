/* Theory of operation. Programs know these files by fixed paths, and where the target has them is
 * another matter: resolv.conf is often a symbolic link. So it is kept here which copy an open of
 * the path has led to.
 *
 * nsswitch.conf has a copy like the others, whose attributes no file of the target has: that tells
 * whether it is still there, or a listing or a way through a symbolic link has put the target's own
 * in its place. */
#include "name_copies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "names.h"
#include "resolvconf.h"
#include "tracer.h"
#include "util.h"

#define NSSWITCH "/etc/nsswitch.conf"

static const struct {
	const char *path;
	void (*learn)(struct names *n, const char *text, size_t len);
} files[] = {
	[NAME_COPY_RESOLV_CONF] = { "/etc/resolv.conf", names_resolv_conf },
	[NAME_COPY_HOSTS] = { "/etc/hosts", names_hosts },
	[NAME_COPY_HOST_CONF] = { "/etc/host.conf", NULL },
};

_Static_assert(ARRAY_SIZE(files) == NAME_COPY_MAX, "a path for each file");

/* The whole text, up to NAMES_TEXT_MAX, the caller's; NULL: no memory. A file that cannot be read
 * is empty. */
static char *read_text(int fd, size_t *len)
{
	char *text = malloc(NAMES_TEXT_MAX);
	ssize_t n = 1;

	*len = 0;
	while (text && fd >= 0 && n > 0 && *len < NAMES_TEXT_MAX) {
		n = read(fd, text + *len, NAMES_TEXT_MAX - *len);
		*len += n > 0 ? (size_t)n : 0;
	}
	return text;
}

/* --- what is known --- */

static bool is_fresh(const struct name_copy *f)
{
	return f->asked_ns && is_within(f->asked_ns, NAMES_FRESH_MS);
}

/* A version that did not survive the attributes told since is no longer known (tree_put()). */
static bool is_current(const struct name_copy *f, const struct tree_node *node)
{
	return node->version || node->seen_ns <= f->fetched_ns;
}

int name_copy_at(const struct name_copy *f, bool content)
{
	const struct tree *tree = &f->fs->tree;
	cleanup_fd int fd = f->canonical ? tree_at(tree, f->canonical) : -1;
	const struct tree_node *node = fd < 0 ? NULL : tree_node(tree, fd);

	if (!node || !node->has_content)
		return -1;
	if (link_is_up(&f->fs->tracer->link) && (!is_fresh(f) || (content && !is_current(f, node))))
		return -1;
	return take_fd(&fd);
}

bool name_copy_take(const struct name_copy *f, struct fetch *fetch)
{
	cleanup_fd int fd = name_copy_at(f, true);

	if (fd < 0)
		return false;
	fetch->path = strdup(f->canonical);
	if (!fetch->path)
		return false;
	fetch->want = FILE_READ;
	fetch->attr = tree_node(&f->fs->tree, fd)->attr;
	fetch->copy = take_fd(&fd);
	return true;
}

/* --- what the agent says --- */

static void learn(struct name_copy *f, int copy)
{
	struct tree *tree = &f->fs->tree;
	const struct tree_node *node = tree_node(tree, copy);
	cleanup_free char *text = NULL;
	cleanup_fd int fd = -1;
	size_t len;

	if (!f->learn || !node || (node->ino == f->ino && node->fills == f->fills))
		return;
	f->ino = node->ino;
	f->fills = node->fills;
	fd = S_ISREG(node->attr.mode) ? tree_open_copy(tree, copy, O_RDONLY | O_CLOEXEC) : -1;
	text = read_text(fd, &len);
	if (text)
		f->learn(f->fs->tracer->names, text, len);
}

static void forget(struct name_copy *f)
{
	free(f->canonical);
	f->canonical = NULL;
	f->ino = 0;
	if (f->learn)
		f->learn(f->fs->tracer->names, "", 0);
}

void name_copy_told(struct name_copy *f, const char *canonical)
{
	char *path = strdup(canonical);

	if (!path)
		return;
	free(f->canonical);
	f->canonical = path;
	f->asked_ns = now_ns();
}

/* EIO is what a lost link says: nothing of the file. */
void name_copy_fetched(struct name_copy *f, const struct fetch *fetch, int error)
{
	if (error == EIO)
		return;
	if (error) {
		forget(f);
		return;
	}
	name_copy_told(f, fetch->path);
	f->fetched_ns = f->asked_ns;
	learn(f, fetch->copy);
}

static void fetched(struct fetch *fetch, int error)
{
	struct name_copy *f = container_of(fetch, struct name_copy, fetch);

	f->fetching = false;
	name_copy_fetched(f, fetch, error);
	fetch_release(fetch);
}

void name_copies_ask(struct name_copies *nc)
{
	for (unsigned id = 0; nc->fs && id < NAME_COPY_MAX; id++) {
		struct name_copy *f = &nc->file[id];

		if (f->learn && !f->fetching)
			f->fetching = fetch_start(&f->fetch, FILE_READ | FILE_CONTENT, 0, 0,
					      f->path) == 0;
	}
}

struct name_copy *name_copies_find(struct name_copies *nc, const char *path)
{
	for (unsigned id = 0; nc->fs && id < NAME_COPY_MAX; id++) {
		if (strcmp(path, nc->file[id].path) == 0)
			return &nc->file[id];
	}
	return NULL;
}

/* --- nsswitch.conf --- */

/* This machine's, or without one that line alone; with the owner and the time that it has here. */
static int make_nsswitch(struct name_copies *nc)
{
	cleanup_fd int fd = open(NSSWITCH, O_RDONLY | O_CLOEXEC);
	struct stat st = { 0 };
	size_t len;
	cleanup_free char *own = read_text(fd, &len);

	nc->nsswitch = own ? nsswitch_make(own, &len) : NULL;
	if (!nc->nsswitch)
		return -ENOMEM;
	if (fd >= 0)
		fstat(fd, &st);
	nc->nsswitch_attr = (struct file_attr){
		.mode = S_IFREG | 0644,
		.uid = st.st_uid,
		.gid = st.st_gid,
		.nlink = 1,
		.size = len,
		.mtime = timespec_to_ns(st.st_mtim),
	};
	nc->nsswitch_attr.atime = nc->nsswitch_attr.ctime = nc->nsswitch_attr.mtime;
	return 0;
}

static bool has_nsswitch(const struct name_copies *nc)
{
	const struct tree *tree = &nc->fs->tree;
	cleanup_fd int fd = tree_at(tree, NSSWITCH);
	const struct tree_node *node = fd < 0 ? NULL : tree_node(tree, fd);

	return node && node->has_content &&
	       memcmp(&node->attr, &nc->nsswitch_attr, sizeof(node->attr)) == 0;
}

static int put_nsswitch(struct name_copies *nc)
{
	struct tree *tree = &nc->fs->tree;
	const struct file_attr *attr = &nc->nsswitch_attr;
	struct tree_content content = TREE_CONTENT_NONE;
	int r = tree_put(tree, NSSWITCH, attr, NULL, 0, NULL);

	if (r == 0)
		r = tree_content_begin(&content, tree, NSSWITCH, 0);
	if (r == 0)
		r = tree_content_data(&content, 0, nc->nsswitch, attr->size);
	if (r == 0)
		return tree_content_end(&content, attr, attr->size, 0);
	tree_content_abort(&content);
	return r;
}

int name_copies_made(struct name_copies *nc, const char *path)
{
	int r;

	if (!nc->fs || strcmp(path, NSSWITCH) != 0)
		return 0;
	r = has_nsswitch(nc) ? 0 : put_nsswitch(nc);
	return r < 0 ? r : 1;
}

/* --- a run --- */

int name_copies_start(struct name_copies *nc, struct fs *fs)
{
	*nc = (struct name_copies){ .fs = fs };
	for (unsigned id = 0; id < NAME_COPY_MAX; id++) {
		struct name_copy *f = &nc->file[id];

		*f = (struct name_copy){
			.fs = fs, .path = files[id].path, .learn = files[id].learn
		};
		fetch_init(&f->fetch, fs, fetched);
	}
	name_copies_ask(nc);
	return make_nsswitch(nc);
}

void name_copies_done(struct name_copies *nc)
{
	for (unsigned id = 0; nc->fs && id < NAME_COPY_MAX; id++) {
		struct name_copy *f = &nc->file[id];

		if (f->fetching)
			fetch_drop(&f->fetch);
		free(f->canonical);
	}
	free(nc->nsswitch);
	*nc = (struct name_copies){ 0 };
}

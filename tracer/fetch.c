#include "fetch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "fs.h"
#include "log.h"
#include "tracer.h"
#include "trap.h"
#include "util.h"

/* What st_blocks counts (stat(2)). */
#define BLOCK_SIZE 512

void fetch_close_handle(struct fetch *f)
{
	const struct msg m = { .type = MSG_file_close, .id = f->query.id };

	if (f->want & FILE_WRITE)
		mux_send(&f->fs->tracer->link.mux, &m);
}

/* The rest of what was coming is not wanted. */
static void stop_filling(struct fetch *f)
{
	tree_content_abort(&f->content);
	tree_list_abort(&f->listing);
}

/* --- what is known --- */

/* Of the target's symbolic links the tree has only those that were asked about by themselves. */
static void note_way(const struct fetch *f, uint64_t ino)
{
	f->fs->ways[f->way % FETCH_WAYS] = (struct fetch_way){ f->way, ino };
}

static const struct tree_node *known_node(const struct fetch *f, const char *path)
{
	const struct fs *fs = f->fs;
	const struct fetch_way *way = &fs->ways[f->way % FETCH_WAYS];
	cleanup_fd int fd = tree_walk(&fs->tree, path);

	if (fd >= 0)
		return tree_node(&fs->tree, fd);
	return way->hash == f->way ? tree_node_by_ino(&fs->tree, way->ino) : NULL;
}

/* A version is of one file's content: nothing is lost when it is another file by now. */
static uint64_t known_version(const struct fetch *f, const char *path)
{
	const struct tree_node *node = known_node(f, path);

	return node && node->has_content ? node->version : 0;
}

/* --- the end of it --- */

/* By its canonical name: the way there was gone, and decided about, already. */
static int ask_again(struct fetch *f)
{
	const uint32_t way = FILE_BENEATH | FILE_IN_ROOT | FILE_NO_XDEV;
	uint32_t mode = f->query.msg.file_open.mode;
	char *path = f->path;
	int r;

	fetch_close_handle(f);
	f->path = NULL;
	fetch_release(f);
	f->base = 0;
	f->repeated++;
	r = fetch_start(f, f->want & ~way, mode, f->from, path);
	free(path);
	if (r < 0)
		f->want &= ~(uint32_t)FILE_WRITE; /* there is no handle */
	return r;
}

static bool may_repeat(const struct fetch *f)
{
	return f->repeated < FETCH_REPEATS && !(f->want & (FILE_EXCL | FILE_TRUNC));
}

static void finish(struct fetch *f)
{
	int error = f->failed;

	if (error == ESTALE && f->path && may_repeat(f)) {
		error = -ask_again(f);
		if (!error)
			return;
	}
	if (error) {
		fetch_close_handle(f);
		fetch_release(f);
	}
	f->done(f, error);
}

/* Why a file is not copied, where the options have a say; of each file once. */
static void say_refused(const struct fetch *f)
{
	static const struct {
		int error;
		const char *why;
	} rows[] = {
		{ EFBIG, "it is larger than --fs-file-max allows" },
		{ EDQUOT, "all copies would take more than --fs-tree-max allows" },
		{ ENOSPC, "there is no room where copies are kept; name another place with "
			  "--fs-dir" },
	};
	struct tree_node *node = tree_node(&f->fs->tree, f->copy);

	if (!node || node->refused)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].error != f->failed)
			continue;
		node->refused = true;
		log_err("'%s' of the target is not copied: %s", f->path, rows[i].why);
	}
}

/* It does not fit here: the rest is not asked for. */
static void refuse(struct fetch *f)
{
	remote_drop(&f->query);
	say_refused(f);
	if (f->failed == EDQUOT)
		f->failed = ENOSPC;
	stop_filling(f);
	finish(f);
}

/* What a file holds at most: it may be sparse, or have no blocks. */
static bool is_too_large(const struct fetch *f)
{
	uint64_t max = f->fs->tree.file_max;

	return f->attr.size > max && f->attr.blocks > max / BLOCK_SIZE;
}

/* The file was cut in the target, or made: its copy is empty. */
static int make_empty(struct fetch *f, uint64_t version)
{
	int r = tree_content_begin(&f->content, &f->fs->tree, f->path, 0);

	if (r == 0)
		r = tree_content_end(&f->content, &f->attr, 0, version);
	return r;
}

/* What the guest has added to a copy meanwhile is not in that size. */
static bool is_emptied(const struct fetch *f, const struct tree_node *node)
{
	if (!S_ISREG(f->attr.mode) || f->want & FILE_TRUNC)
		return S_ISREG(f->attr.mode);
	return f->attr.size == 0 && f->want & FILE_WRITE && !node->writeback;
}

static int begin_listing(struct fetch *f)
{
	int r = tree_list_begin(&f->listing, &f->fs->tree, f->path);

	f->listing.watched = f->watched;
	f->listing.moved = f->moved;
	return r;
}

/* The guest has written to the file since it was asked for, and is done with that: the copy is
 * newer. */
static bool is_older(const struct fetch *f, const struct remote_found *found)
{
	cleanup_fd int fd = tree_at(&f->fs->tree, found->path);
	const struct tree_node *node = fd < 0 ? NULL : tree_node(&f->fs->tree, fd);

	return node && node->writes > found->writes;
}

/* By now the copy is not what it was when the question was asked: another answer is filling it.
 * What the guest writes to is on top of that. */
static bool is_overtaken(const struct fetch *f, const struct tree_node *node)
{
	bool is_known = node->version == f->query.msg.file_open.known || node->writeback;

	return !node->has_content || !is_known;
}

/* 0 or -errno; -ESTALE: it is to be asked for again. */
static int begin(struct fetch *f, const struct remote_found *found)
{
	struct tree *tree = &f->fs->tree;
	struct tree_node *node;

	f->attr = *found->attr;
	f->path = strdup(found->path);
	if (!f->path)
		return -ENOMEM;
	if (may_repeat(f) && is_older(f, found))
		return -ESTALE;
	f->copy = fs_put(f->fs, found, &node);
	if (f->copy < 0)
		return f->copy;
	note_way(f, node->ino);
	if (found->content == FILE_UNCHANGED && is_overtaken(f, node))
		return -ESTALE;
	if (found->content == FILE_BYTES && is_too_large(f))
		return -EFBIG;
	if (found->content == FILE_BYTES)
		return tree_content_begin(&f->content, tree, f->path, f->from);
	if (found->content == FILE_ENTRIES)
		return begin_listing(f);
	return is_emptied(f, node) ? make_empty(f, found->version) : 0;
}

static void on_found(struct remote_query *q, int error, const struct remote_found *found)
{
	struct fetch *f = container_of(q, struct fetch, query);

	if (error) {
		f->want &= ~(uint32_t)FILE_WRITE; /* there is no handle */
		f->failed = error;
		finish(f);
		return;
	}
	f->failed = -begin(f, found);
	if (f->failed)
		refuse(f);
	else if (found->content != FILE_BYTES && found->content != FILE_ENTRIES)
		finish(f);
}

static void on_data(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n)
{
	struct fetch *f = container_of(q, struct fetch, query);

	f->failed = -tree_content_data(&f->content, offset, p, n);
	if (f->failed)
		refuse(f);
}

static void on_entry(struct remote_query *q, const struct file_attr *attr, const char *name,
	size_t name_len, const char *link, size_t link_len)
{
	struct fetch *f = container_of(q, struct fetch, query);

	f->failed = -tree_list_entry(&f->listing, attr, name, name_len, link, link_len);
	if (f->failed)
		refuse(f);
}

/* Into a copy that the guest writes to. A part of it does not do. */
static int take_content(struct fetch *f, struct tree_node *node, uint64_t size, uint64_t version)
{
	int r = f->from ? 0 : writeback_take(node, f->content.beside, size, f->mark);

	if (r >= 0 && !f->from)
		tree_content_taken(&f->content, &f->attr, r ? version : 0);
	else
		tree_content_abort(&f->content);
	return MIN(r, 0);
}

static int complete(struct fetch *f, uint64_t size, uint64_t version)
{
	struct tree_node *node = f->content.tree ? tree_content_node(&f->content) : NULL;
	int r = 0;

	f->attr.size = size;
	/* What lies before was not compared: another open is to ask for it. */
	if (node && node->writeback && f->content.beside >= 0)
		r = take_content(f, node, size, version);
	else if (f->content.tree)
		r = tree_content_end(&f->content, &f->attr, size, f->from ? 0 : version);
	else if (f->listing.tree)
		r = tree_list_end(&f->listing);
	return r;
}

static void on_end(struct remote_query *q, int error, uint64_t size, uint64_t version)
{
	struct fetch *f = container_of(q, struct fetch, query);

	f->failed = error;
	if (f->failed)
		stop_filling(f);
	else
		f->failed = -complete(f, size, version);
	finish(f);
}

static const struct remote_ops fetch_ops = {
	.found = on_found,
	.data = on_data,
	.entry = on_entry,
	.end = on_end,
};

void fetch_init(struct fetch *f, struct fs *fs, void (*done)(struct fetch *f, int error))
{
	f->fs = fs;
	f->done = done;
	f->copy = -1;
	f->content = TREE_CONTENT_NONE;
	f->listing = TREE_LISTING_NONE;
}

int fetch_start(struct fetch *f, uint32_t want, uint32_t mode, uint64_t from, const char *path)
{
	uint64_t known;
	int r;

	f->way = XXH3_64bits(path, strlen(path));
	known = want & FILE_CONTENT ? known_version(f, path) : 0;
	f->query = (struct remote_query){ .ops = &fetch_ops, .base = f->base };
	f->want = want;
	f->from = from;
	f->failed = 0;
	r = remote_open(&f->fs->remote, &f->query, want, mode, known, from, path);
	f->mark = writeback_mark(&f->fs->writeback);
	return r;
}

void fetch_drop(struct fetch *f)
{
	remote_drop(&f->query);
	stop_filling(f);
	fetch_close_handle(f);
	fetch_release(f);
}

void fetch_release(struct fetch *f)
{
	close_fd(&f->copy);
	free(f->path);
	f->path = NULL;
}

/* --- a call that waits --- */

static void call_done(struct fetch *f, int error)
{
	struct fetch_call *w = container_of(f, struct fetch_call, fetch);

	w->fetched(w, error);
}

static void call_free(struct deferred *d)
{
	struct fetch_call *w = container_of(d, struct fetch_call, release);

	fetch_release(&w->fetch);
	if (w->freed)
		w->freed(w);
	free(w);
}

static void call_cancel(struct call *c)
{
	struct fetch_call *w = c->data;

	fetch_drop(&w->fetch);
	fetch_call_end(w);
}

void *fetch_call_new(struct call *c, size_t size, void (*fetched)(struct fetch_call *w, int error),
	void (*freed)(struct fetch_call *w))
{
	struct fetch_call *w = calloc(1, size);

	if (!w) {
		call_return(c, -ENOMEM);
		return NULL;
	}
	fetch_init(&w->fetch, &c->tracer->fs, call_done);
	deferred_init(&w->release, call_free);
	w->call = c;
	w->fetched = fetched;
	w->freed = freed;
	return w;
}

void fetch_call_start(
	struct fetch_call *w, uint32_t want, uint32_t mode, uint64_t from, const char *path)
{
	int r = fetch_start(&w->fetch, want, mode, from, path);

	if (r < 0)
		w->fetched(w, -r);
	else
		call_park(w->call, false, call_cancel, w);
}

struct call *fetch_call_end(struct fetch_call *w)
{
	w->call->cancel = NULL;
	loop_defer(&w->fetch.fs->tracer->loop, &w->release);
	return w->call;
}

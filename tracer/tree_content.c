/* Theory of operation. Bytes are written to the copy itself as long as nobody can see them there:
 * nobody has it open, and nobody will have, since it is without content until all have come. If
 * someone has it open, he shall see the former content or the new one, as near as can be: the bytes
 * go to a file beside, and from there, when all have come, over the former ones, so that a byte
 * that is the same in both is never seen to be another. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "io.h"
#include "tree.h"
#include "tree_parts.h"
#include "util.h"

/* What a piece may take beyond its bytes when it does not follow the one before. */
#define BLOCK 4096

#define COPY_CHUNK 65536

#define BESIDE "beside"

/* --- the end of one --- */

static bool is_under_way(const struct tree_content *c)
{
	return c->copy >= 0;
}

static void release(struct tree_content *c)
{
	close_fd(&c->copy);
	close_fd(&c->fd);
	close_fd(&c->beside);
	*c = TREE_CONTENT_NONE;
}

struct tree_node *tree_content_node(const struct tree_content *c)
{
	struct tree_node *node = tree_node_by_ino(c->tree, c->ino);

	return node && !node->gone && node->fills == c->fills ? node : NULL;
}

/* A copy that is without content has the size that was said, and takes no room. */
static void empty(struct tree_content *c, struct tree_node *node)
{
	struct stat st;

	tree_drop_content(c->tree, node);
	if (ftruncate(c->fd, 0) == 0 && ftruncate(c->fd, (off_t)node->attr.size) == 0 &&
		fstat(c->fd, &st) == 0)
		tree_apply(c->tree, c->fd, &st, &node->attr, false);
}

void tree_content_abort(struct tree_content *c)
{
	struct tree_node *node;

	if (!is_under_way(c))
		return;
	c->tree->bytes -= c->held;
	node = tree_content_node(c);
	if (node && c->beside < 0) {
		node->filling = false;
		empty(c, node);
	}
	release(c);
}

/* --- the beginning --- */

/* Nobody sees the copy: what follows `from` goes. It keeps a size, since someone may begin to add
 * to it. */
static int begin_in_place(struct tree_content *c, struct tree_node *node)
{
	uint64_t size = MAX(node->attr.size, c->from);

	if (node->has_content &&
		(ftruncate(c->fd, (off_t)c->from) < 0 || ftruncate(c->fd, (off_t)size) < 0))
		return -errno;
	if (node->has_content)
		c->end = size;
	tree_drop_content(c->tree, node);
	c->tree->bytes += c->kept;
	node->held = c->kept;
	node->filling = true;
	return 0;
}

static int begin_beside(struct tree_content *c)
{
	c->beside = openat(
		c->tree->work, BESIDE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, S_IRUSR | S_IWUSR);
	if (c->beside < 0 || unlinkat(c->tree->work, BESIDE, 0) < 0)
		return -errno;
	c->end = 0;
	return 0;
}

/* A program cannot be written to while it runs: then its next copy is another. */
static int open_copy(struct tree_content *c, const char *path, bool again, struct stat *st)
{
	const struct tree_node *node;
	int r;

	c->copy = tree_at(c->tree, path);
	if (c->copy < 0)
		return c->copy;
	if (fstat(c->copy, st) < 0 || !S_ISREG(st->st_mode))
		return -EINVAL;
	c->fd = tree_reopen(c->copy, O_RDWR);
	node = tree_node_by_ino(c->tree, st->st_ino);
	if (c->fd != -ETXTBSY || again || c->from || (node && node->writeback))
		return c->fd < 0 ? c->fd : 0;
	r = tree_replace(c->tree, path);
	close_fd(&c->copy);
	return r < 0 ? r : open_copy(c, path, true, st);
}

static int begin(struct tree_content *c, const char *path)
{
	struct tree_node *node;
	struct stat st;
	int r = open_copy(c, path, false, &st);

	if (r < 0)
		return r;
	node = tree_node_by_ino(c->tree, st.st_ino);
	if (!node || (c->from && !node->has_content))
		return -EINVAL;
	c->ino = st.st_ino;
	c->end = (uint64_t)st.st_size;
	c->fills = node->fills;
	c->kept = MIN(node->held, c->from);
	/* What was never opened can have been executed. */
	if (!node->writeback && !node->filling &&
		((!node->opened && !(st.st_mode & 0111)) || !tree_has_others(c->fd)))
		return begin_in_place(c, node);
	return begin_beside(c);
}

int tree_content_begin(struct tree_content *c, struct tree *t, const char *path, uint64_t from)
{
	int r;

	*c = TREE_CONTENT_NONE;
	if (from > INT64_MAX)
		return -EINVAL;
	c->tree = t;
	c->from = c->next = from;
	r = begin(c, path);
	if (r < 0)
		release(c);
	return r;
}

/* --- bytes --- */

int tree_content_data(struct tree_content *c, uint64_t offset, const void *p, size_t n)
{
	const struct tree *t = c->tree;
	uint64_t cost = n + (offset == c->next ? 0 : BLOCK);
	int r;

	if (offset < c->from || offset > INT64_MAX || n > INT64_MAX - offset)
		return -EPROTO;
	if (!n || !tree_content_node(c))
		return 0;
	if (cost > t->file_max || c->kept + c->held > t->file_max - cost)
		return -EFBIG;
	if (cost > t->bytes_max || t->bytes > t->bytes_max - cost)
		return -EDQUOT;
	r = io_write_at(c->beside >= 0 ? c->beside : c->fd, p, n, offset);
	if (r < 0)
		return r;
	c->tree->bytes += cost;
	c->held += cost;
	c->next = offset + n;
	c->end = MAX(c->end, c->next);
	return 0;
}

/* --- from beside into the copy ---
 *
 * What is equal is not written: for a moment the copy has another time, and who watches it is
 * told. */

static bool has_data(int fd, uint64_t from, uint64_t to)
{
	off_t data = lseek(fd, (off_t)from, SEEK_DATA);

	return data >= 0 ? (uint64_t)data < to : errno != ENXIO;
}

/* What is in [from, to) of a file of that size becomes zero. */
static int clear(int fd, uint64_t from, uint64_t to, uint64_t size)
{
	static const uint8_t zeros[COPY_CHUNK];
	int r = 0;

	to = MIN(to, size);
	if (from >= to || !has_data(fd, from, to) ||
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
			(off_t)(to - from)) == 0)
		return 0;
	for (; from < to && r == 0; from += MIN(to - from, (uint64_t)COPY_CHUNK))
		r = io_write_at(fd, zeros, MIN(to - from, (uint64_t)COPY_CHUNK), from);
	return r;
}

static int copy_range(int to, int source, uint64_t from, uint64_t end)
{
	uint8_t bytes[COPY_CHUNK], former[COPY_CHUNK];
	int r = 0;

	for (ssize_t n; from < end && r == 0; from += (uint64_t)n) {
		n = io_read_at(source, bytes, MIN(end - from, sizeof(bytes)), from);
		if (n <= 0)
			return n ? (int)n : -EIO;
		if (io_read_at(to, former, (size_t)n, from) != n ||
			memcmp(bytes, former, (size_t)n) != 0)
			r = io_write_at(to, bytes, (size_t)n, from);
	}
	return r;
}

/* All that is beside, holes as holes. */
static int copy_over(const struct tree_content *c)
{
	uint64_t at = c->from, end = c->end, size;
	struct stat st;
	int r = 0;

	if (fstat(c->fd, &st) < 0)
		return -errno;
	size = (uint64_t)st.st_size;
	while (r == 0 && at < MAX(end, size)) {
		off_t data = at < end ? lseek(c->beside, (off_t)at, SEEK_DATA) : -1, hole;

		if (data < 0 && at < end && errno != ENXIO)
			return -errno;
		if (data < 0)
			return clear(c->fd, at, size, size);
		hole = lseek(c->beside, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		r = clear(c->fd, at, (uint64_t)data, size);
		if (r == 0)
			r = copy_range(c->fd, c->beside, (uint64_t)data, (uint64_t)hole);
		at = (uint64_t)hole;
	}
	return r;
}

/* --- complete --- */

static int finish(struct tree_content *c, const struct file_attr *attr, uint64_t size)
{
	int r = c->beside >= 0 ? copy_over(c) : 0;
	struct stat st;

	if (r < 0)
		return r;
	if (fstat(c->fd, &st) < 0 ||
		((uint64_t)st.st_size != size && ftruncate(c->fd, (off_t)size) < 0))
		return -errno;
	return tree_apply(c->tree, c->fd, &st, attr, false);
}

/* The copy may be of both, the former content and the new: nobody's is there any more. */
static void spoil(struct tree_content *c, struct tree_node *node)
{
	empty(c, node);
	node->filling = false;
	node->fills++;
}

static void complete(struct tree_content *c, struct tree_node *node, uint64_t version)
{
	c->tree->bytes -= node->held - c->kept;
	node->held = c->kept + c->held;
	c->held = 0; /* it is the node's now */
	node->filling = false;
	node->has_content = true;
	node->version = version;
	node->fills++;
}

int tree_content_end(
	struct tree_content *c, const struct file_attr *attr, uint64_t size, uint64_t version)
{
	struct tree_node *node = tree_content_node(c);
	int r;

	if (!node) { /* there is another's, or none is wanted any more */
		node = tree_node_by_ino(c->tree, c->ino);
		r = node && !node->gone && node->has_content ? 0 : -ESTALE;
		tree_content_abort(c);
		return r;
	}
	r = S_ISREG(attr->mode) && tree_attr_is_possible(attr) && size <= INT64_MAX
		    ? finish(c, attr, size)
		    : -EPROTO;
	if (r < 0) {
		spoil(c, node);
		tree_content_abort(c);
		return r;
	}
	tree_said(c->tree, node, attr);
	complete(c, node, version);
	release(c);
	return 0;
}

void tree_content_taken(struct tree_content *c, const struct file_attr *attr, uint64_t version)
{
	struct tree_node *node = tree_content_node(c);

	if (node) {
		tree_said(c->tree, node, attr);
		complete(c, node, version);
	}
	tree_content_abort(c);
}

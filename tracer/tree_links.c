/* Theory of operation. A regular file with several names in the target has one copy with several
 * names, so that stat(2) finds one inode behind them, and what is written by one name is read by
 * another. A copy can get one more name only by way of one that it has, and where those are is not
 * known. So the copy of such a file has a name in `links` as well: the number of its inode.
 *
 * That one counts in st_nlink. A descriptor's fstat(2) so says what programs ask it for, that there
 * is another name, though not always how many.
 *
 * A file that has got its second name from others than the guest when there was a copy of the first
 * already is found under the second as if it were another. The names come together when the first
 * is asked about again. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "tree.h"
#include "tree_parts.h"
#include "util.h"

struct link_name {
	char text[24];
};

static struct link_name name_of(const struct tree_node *node)
{
	struct link_name n;

	snprintf(n.text, sizeof(n.text), "%" PRIu64, node->ino);
	return n;
}

static uint64_t key_of(const struct file_attr *attr)
{
	return attr->ino ^ attr->dev << 40;
}

static bool has_names(const struct file_attr *attr)
{
	return S_ISREG(attr->mode) && attr->nlink > 1;
}

struct tree_node *tree_links_find(const struct tree *t, const struct file_attr *attr)
{
	struct hnode *n = has_names(attr) ? htab_find(&t->linked, key_of(attr)) : NULL;

	for (; n; n = htab_next(n)) {
		struct tree_node *node = container_of(n, struct tree_node, linked_node);

		if (node->attr.dev == attr->dev && node->attr.ino == attr->ino)
			return node;
	}
	return NULL;
}

bool tree_links_name(struct tree *t, struct tree_node *node, int dir, const char *name)
{
	if (t->nodes.count + t->more >= TREE_COPIES_MAX ||
		linkat(t->links, name_of(node).text, dir, name, 0) < 0)
		return false;
	node->more++;
	t->more++;
	return true;
}

/* Without it every name has a copy of its own. */
static void keep(struct tree *t, int fd, struct tree_node *node)
{
	struct link_name name = name_of(node);

	if (linkat(AT_FDCWD, tree_fd_path(fd).text, t->links, name.text, AT_SYMLINK_FOLLOW) < 0)
		return;
	node->linked = htab_add(&t->linked, &node->linked_node, key_of(&node->attr)) == 0;
	if (!node->linked)
		unlinkat(t->links, name.text, 0);
}

void tree_links_drop(struct tree *t, struct tree_node *node)
{
	if (!node->linked)
		return;
	unlinkat(t->links, name_of(node).text, 0);
	htab_del(&t->linked, &node->linked_node);
	node->linked = false;
}

void tree_links_follow(struct tree *t, int fd, struct tree_node *node)
{
	if (!has_names(&node->attr))
		tree_links_drop(t, node);
	else if (!node->linked)
		keep(t, fd, node);
}

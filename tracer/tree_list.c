/* Theory of operation. What the copy of the directory holds is read once, at the beginning, and
 * sorted by name. An entry whose copy is there, and of which the agent says what it said before,
 * costs no system call; what no entry has named goes at the end. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tree.h"
#include "tree_parts.h"
#include "util.h"

struct tree_listed {
	size_t name; /* where in names it begins */
	uint64_t ino;
	bool named;
};

static void forget_listing(struct tree_listing *l)
{
	close_fd(&l->dir);
	free(l->names);
	free(l->entries);
	*l = TREE_LISTING_NONE;
}

void tree_list_abort(struct tree_listing *l)
{
	forget_listing(l);
}

/* --- what is there --- */

/* Room for more elements of that size in an array of n, which has room for the next power of two.
 */
static int grow(void **array, size_t n, size_t more, size_t size)
{
	size_t cap = 64;
	void *p;

	while (cap < n)
		cap *= 2;
	if (*array && cap >= n + more)
		return 0;
	while (cap < n + more)
		cap *= 2;
	p = realloc(*array, cap * size);
	if (!p)
		return -ENOMEM;
	*array = p;
	return 0;
}

static int note(struct tree_listing *l, size_t *used, const struct dirent *d)
{
	size_t len = strlen(d->d_name) + 1;
	void *names = l->names, *entries = l->entries;
	int r = grow(&names, *used, len, 1);

	l->names = names;
	if (r == 0)
		r = grow(&entries, l->nentries, 1, sizeof(*l->entries));
	l->entries = entries;
	if (r < 0)
		return r;
	memcpy(l->names + *used, d->d_name, len);
	l->entries[l->nentries++] = (struct tree_listed){ .name = *used, .ino = d->d_ino };
	*used += len;
	return 0;
}

static int read_names(struct tree_listing *l, DIR *d)
{
	size_t used = 0;
	struct dirent *entry;
	int r = 0;

	errno = 0;
	while (r == 0 && (entry = readdir(d))) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			r = note(l, &used, entry);
		errno = 0;
	}
	return r == 0 ? -errno : r;
}

static int by_name(const void *a, const void *b, void *names)
{
	const struct tree_listed *x = a, *y = b;

	return strcmp((char *)names + x->name, (char *)names + y->name);
}

static int read_copy(struct tree_listing *l)
{
	cleanup_fd int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int r;

	if (!d)
		return -errno;
	fd = -1; /* d's */
	r = read_names(l, d);
	closedir(d);
	if (r == 0 && l->nentries)
		qsort_r(l->entries, l->nentries, sizeof(*l->entries), by_name, l->names);
	return r;
}

int tree_list_begin(struct tree_listing *l, struct tree *t, const char *path)
{
	int r;

	*l = TREE_LISTING_NONE;
	l->tree = t;
	l->dir = tree_at(t, path);
	r = l->dir < 0 ? l->dir : read_copy(l);
	if (r < 0)
		forget_listing(l);
	return r;
}

/* --- what is said --- */

static struct tree_listed *find(const struct tree_listing *l, const char *name)
{
	size_t low = 0, high = l->nentries;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, l->names + l->entries[middle].name);

		if (order == 0)
			return &l->entries[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

/* Entries that are made in the copy of a directory change its times, so that these are looked at.
 */
static bool is_as_before(const struct tree_node *node, const struct file_attr *attr)
{
	return !S_ISDIR(attr->mode) && memcmp(&node->attr, attr, sizeof(*attr)) == 0;
}

/* Without the right to search a directory not all is known of what is in it. */
static struct tree_entry complete_entry(struct file_attr *attr, const char *link, size_t link_len)
{
	struct tree_entry e = {
		.attr = attr, .link = link, .link_len = link_len, .any_size = true
	};

	if (!(attr->mode & S_IFMT))
		attr->mode |= S_IFREG;
	if (!link_len) {
		e.link = "?";
		e.link_len = 1;
	}
	return e;
}

int tree_list_entry(struct tree_listing *l, const struct file_attr *said, const char *name,
	size_t name_len, const char *link, size_t link_len)
{
	struct file_attr attr = *said;
	struct tree_entry e = complete_entry(&attr, link, link_len);
	char terminated[NAME_MAX + 1];
	struct tree_listed *listed;
	struct tree_node *node;
	int r = 0;

	if (!tree_is_component(name, name_len))
		return -EPROTO;
	memcpy(terminated, name, name_len);
	terminated[name_len] = '\0';
	listed = find(l, terminated);
	node = listed ? tree_node_by_ino(l->tree, listed->ino) : NULL;
	if (listed)
		listed->named = true;
	e.is_made = l->watched && !listed && !(l->moved && strcmp(l->moved, terminated) == 0);
	if (node && is_as_before(node, &attr))
		tree_said(l->tree, node, &attr);
	else
		r = tree_put_at(l->tree, l->dir, terminated, &e, &node);
	if (r >= 0)
		node->listed = true;
	return r < 0 ? r : 0;
}

/* --- the end --- */

static void remove_entry(struct tree_listing *l, const struct tree_listed *entry)
{
	const char *name = l->names + entry->name;
	struct stat st;

	/* Not one that took its place meanwhile. */
	if (fstatat(l->dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == entry->ino)
		tree_discard(l->tree, l->dir, name, &st);
}

static void believe_directory(const struct tree_listing *l)
{
	struct tree_node *node = tree_node(l->tree, l->dir);

	if (node && node->seen_ns)
		node->listed = true; /* it was said with the entries */
}

int tree_list_end(struct tree_listing *l)
{
	int r;

	for (size_t i = 0; i < l->nentries; i++) {
		if (!l->entries[i].named)
			remove_entry(l, &l->entries[i]);
	}
	believe_directory(l);
	r = tree_keep_times(l->tree, l->dir);
	forget_listing(l);
	return r;
}

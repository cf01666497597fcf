/* What the files of the tree share: tree.c (copies and their nodes), tree_links.c, tree_content.c,
 * tree_list.c and tree_place.c (where the tree lives, and how it goes). */
#ifndef TRACER_TREE_PARTS_H
#define TRACER_TREE_PARTS_H

#include <sys/stat.h>

#include "tree.h"

/* /proc/self/fd/N, which names the file itself: fd may be O_PATH. */
struct tree_fd_path {
	char text[32];
};
struct tree_fd_path tree_fd_path(int fd);

/* tree_name_gone() - the copy with that inode has lost a name, which may have been its last. t may
 * be NULL. */
void tree_name_gone(struct tree *t, uint64_t ino);

/* tree_links_find() - the copy of a file that has, or had, several names; NULL: none is known. */
struct tree_node *tree_links_find(const struct tree *t, const struct file_attr *attr);

/* tree_links_name() - one more name for the copy that was found. False: it can have none. */
bool tree_links_name(struct tree *t, struct tree_node *node, int dir, const char *name);

/* tree_links_follow() - the node's attributes are new; fd is its copy's. */
void tree_links_follow(struct tree *t, int fd, struct tree_node *node);

/* tree_links_drop() - the copy is not to be found any more. */
void tree_links_drop(struct tree *t, struct tree_node *node);

/* tree_said() - the agent has just said so of that copy. */
void tree_said(struct tree *t, struct tree_node *node, const struct file_attr *attr);

/* tree_drop_content() - the node's copy has no content any more: what is in it is not counted. */
void tree_drop_content(struct tree *t, struct tree_node *node);

/* tree_reopen() - a regular file or a directory behind fd, whatever its mode says. */
int tree_reopen(int fd, int flags);

/* tree_has_others() - as tree_is_open(); fd is not O_PATH. */
bool tree_has_others(int fd);

/* tree_apply() - owner, mode and, unless `but_times`, times of a copy whose present ones are in st.
 * Another time of access alone is left to the answer of stat(2): to set it changes the copy's
 * ctime, which nothing that only reads does. 0 or -errno. */
int tree_apply(const struct tree *t, int fd, const struct stat *st, const struct file_attr *attr,
	bool but_times);

/* What is to be at a place. */
struct tree_entry {
	const struct file_attr *attr;
	const char *link; /* a symbolic link's text */
	size_t link_len;
	bool any_size; /* without its size, if the file system has none such */
	bool is_made;  /* who watches the directory is to hear IN_CREATE, not IN_MOVED_TO */
};

/* tree_put_at() - tree_put() in the directory dir. 1: that has another entry now, and the time of
 * it; 0: nothing has come or gone; or -errno. */
int tree_put_at(struct tree *t, int dir, const char *name, const struct tree_entry *entry,
	struct tree_node **node);

/* tree_keep_times() - entries of a directory came or went that did not in the target. 0 or -errno.
 */
int tree_keep_times(const struct tree *t, int dir);

/* tree_discard() - remove the copy that st was said of, with all that is beneath it. 0 or -errno.
 */
int tree_discard(struct tree *t, int dir, const char *name, const struct stat *st);

/* tree_replace() - another, empty inode in the place of the regular file at path. 0 or -errno. */
int tree_replace(struct tree *t, const char *path);

/* tree_move() - move an entry of dir into the directory `to`, under the next number that is free
 * there. False, and errno: it could not be. */
bool tree_move(int dir, const char *name, int to, unsigned *number);

/* tree_sweep() - remove all that is beneath dir, never following a link; the nodes too, if t is
 * not NULL. 0, or -errno when something stays. */
int tree_sweep(int dir, struct tree *t);

#endif

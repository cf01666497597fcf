/* The private tree: copies of the target's files and directories, each at the path that it has in
 * the target, so that whatever the guest does with a descriptor of one is the kernel's own work.
 *
 * A file of the target that keeps its identity (device and inode) keeps its copy, whose content is
 * changed in place, as those who have it open would see it there; another file in its place gets
 * another copy. Paths are canonical: absolute, without symbolic links, "." and "..". The tree never
 * follows a link of its own and never leaves its root (openat2(2), RESOLVE_BENEATH).
 *
 * It lives in a directory of its own that only we can read: in the first of $XDG_RUNTIME_DIR,
 * TMPDIR and /tmp that lets files be executed and a guest of root's pass that has become another
 * user, else in the first; or where --fs-dir says. Directories that a killed supervisor left there
 * are removed at the next start (they are locked as long as their owner lives). */
#ifndef TRACER_TREE_H
#define TRACER_TREE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "htab.h"
#include "log.h"
#include "proto.h"

struct writeback_file;

/* No more copies than this, of whatever kind, and further names of copies: a directory of the
 * target may be of any size. */
#define TREE_COPIES_MAX (1u << 20)

/* What is known of a copy beyond what the kernel keeps of it. Found by the copy's inode, so that it
 * is the same after a rename of the copy or of a directory above it. */
struct tree_node {
	struct hnode node; /* by ino */
	uint64_t ino;      /* of the copy, in the tree's file system */
	struct file_attr attr;
	uint64_t version; /* of the content (file_opened), 0: there is none, or it is not to be
			     believed */
	bool has_content;
	uint64_t held;            /* bytes of its content, as tree->bytes counts them */
	bool filling;             /* content is being written to the copy itself */
	uint32_t fills;           /* contents that were completed */
	bool opened;              /* someone may have it open */
	bool refused;             /* that it cannot be copied was said */
	bool gone;                /* it has no name any more; kept for writeback */
	uint64_t seen_ns;         /* when attr was said; 0: long ago */
	uint64_t epoch;           /* tree->epoch then */
	uint64_t writes;          /* tree->writes when the guest was last done with writing to it */
	struct hnode linked_node; /* by device and inode in the target */
	bool linked;              /* it is the copy for each of several names (tree_links.c) */
	uint32_t more;            /* how many names it has in the tree besides one */
	bool listed;              /* attr came with a listing */
	bool walked;              /* and was asked for since then (fs.c) */
	struct writeback_file
		*writeback; /* it is or was opened for writing, or NULL (writeback.c) */
};

struct tree {
	int base;                             /* the directory that is ours */
	char name[64];                        /* its name in the one above */
	int root;                             /* the tree's root, beneath it */
	int work;                             /* beside the root: copies that come or go */
	int links;                            /* and names by which copies get others */
	dev_t dev;                            /* the file system of them all */
	char prefix[PROTO_FILE_PATH_MAX / 2]; /* the root's absolute path */
	size_t prefix_len;                    /* 0: the tree is not open */
	struct htab nodes, linked;
	uint64_t more;   /* names that copies have besides one */
	uint64_t epoch;  /* counts what may have changed the target: bytes that came from it,
			    and changes of our own */
	uint64_t writes; /* counts when the guest is done with writing to a copy: what was asked
			    before is older than that copy */
	uint64_t bytes;  /* content held */
	uint64_t file_max, bytes_max;
	bool privileged; /* owners can be set */
};

/* tree_open() - 0, or -errno and e. dir: --fs-dir or NULL. */
int tree_open(
	struct tree *t, const char *dir, uint64_t file_max, uint64_t bytes_max, struct err *e);

/* tree_close() - everything is removed. Idempotent. */
void tree_close(struct tree *t);

/* tree_is_canonical() - len bytes are an absolute path without empty, "." and ".." components, zero
 * bytes, or a slash at its end; "/" is one. Paths given to functions of the tree that are not fail
 * with -EINVAL. */
bool tree_is_canonical(const char *path, size_t len);

/* tree_is_component() - len bytes can be the name of an entry. */
bool tree_is_component(const char *name, size_t len);

/* tree_attr_is_possible() - a file can have this type and size. */
bool tree_attr_is_possible(const struct file_attr *attr);

/* tree_virtual() - the target's path of one in the tree: what follows the prefix, "/" for the root
 * itself; NULL: path is not in the tree. Points into path. */
const char *tree_virtual(const struct tree *t, const char *path);

/* tree_kernel_path() - the other way: how many bytes it needs, with its zero byte; more than
 * PATH_MAX: the kernel takes none that long, and to holds only its beginning. */
size_t tree_kernel_path(const struct tree *t, const char *path, char to[static PATH_MAX]);

/* tree_at() - an O_PATH descriptor of the copy at a canonical path, never of what a link names; the
 * caller's, or -errno. */
int tree_at(const struct tree *t, const char *path);

/* tree_walk() - what a path, canonical or not, leads to by the tree's own symbolic links, which may
 * be old: an O_PATH descriptor, the caller's, or -errno. */
int tree_walk(const struct tree *t, const char *path);

/* tree_node() - the node of a descriptor; NULL: it is none of the tree's, or of a copy that was
 * removed. A node lives as long as its copy has a name; across turns of the loop keep a descriptor
 * instead. */
struct tree_node *tree_node(const struct tree *t, int fd);

/* tree_written() - the guest is about to write to the copy: content that is on its way into the
 * copy itself ends here (-ESTALE). */
void tree_written(struct tree_node *node);

/* tree_unwritten() - writeback is done with the copy: node->writeback becomes NULL. A node whose
 * copy was removed meanwhile is freed. All content that is on its way is older: it ends here. */
void tree_unwritten(struct tree *t, struct tree_node *node);

/* tree_put() - there shall be a copy of that type and with these attributes at path, directories
 * above it included; link is the text of a symbolic link (len bytes). The content of a regular file
 * stays as it is, and without content it is a hole of its size. A device that cannot be made is an
 * empty file. Names of one file (attr->nlink) are names of one copy; the times of a directory that
 * is known stay as they are. node may be NULL. 0 and *node, or -errno: -EPROTO: attributes that no
 * file has; -ENOSPC: there are TREE_COPIES_MAX. */
int tree_put(struct tree *t, const char *path, const struct file_attr *attr, const char *link,
	size_t len, struct tree_node **node);

/* tree_is_open() - someone has the copy open, or a descriptor of ours that is not O_PATH; true when
 * that cannot be known. */
bool tree_is_open(const struct tree *t, int path_fd);

/* tree_node_by_ino() - the node of a copy, or NULL. */
struct tree_node *tree_node_by_ino(const struct tree *t, uint64_t ino);

/* tree_open_copy() - open the copy behind an O_PATH descriptor with flags of open(2), whatever its
 * mode says: the agent has decided already, and has created or truncated what was to be. The fd,
 * or -errno; -ENXIO for what is neither a file nor a directory, unless with O_PATH. */
int tree_open_copy(const struct tree *t, int path_fd, int flags);

/* tree_set_attr() - mode, owner, size unless it has content, and times of a copy. */
void tree_set_attr(struct tree *t, int path_fd, const struct file_attr *attr);

/* tree_adopt() - the file behind fd, in the tree's file system and without a name, becomes the copy
 * at path in place of the one that is there. 0 and *node, or -errno. */
int tree_adopt(struct tree *t, const char *path, int fd, struct tree_node **node);

/* tree_rename(), tree_remove() - what was done in the target is done to the copies; no copy is no
 * failure. exchange: RENAME_EXCHANGE. */
void tree_rename(struct tree *t, const char *from, const char *to, bool exchange);
void tree_remove(struct tree *t, const char *path);

/* --- content, as it comes --- */

/* A file's new content. It is written to the copy itself, or beside it and copied when it is
 * complete if someone has the copy open. Of several that are under way for one copy, the first that
 * is complete ends the others': it was asked for after they were. */
struct tree_content {
	struct tree *tree;
	int copy;       /* O_PATH: its inode is not another's as long as this is open */
	int fd;         /* the copy, to be written to */
	int beside;     /* or -1 */
	uint64_t ino;   /* of the copy */
	uint64_t from;  /* what lies before that offset stays */
	uint64_t next;  /* where the bytes so far end */
	uint64_t end;   /* the size of what is written to */
	uint64_t held;  /* bytes so far, as tree->bytes counts them */
	uint64_t kept;  /* of the former content */
	uint32_t fills; /* node->fills at the beginning */
};

/* tree_content_begin() - after tree_put(); from: what lies before that offset stays. 0 or -errno.
 * Before it, and after _end() and _abort(), a content is TREE_CONTENT_NONE. */
#define TREE_CONTENT_NONE ((struct tree_content){ .copy = -1, .fd = -1, .beside = -1 })
int tree_content_begin(struct tree_content *c, struct tree *t, const char *path, uint64_t from);

/* tree_content_data() - 0; -EFBIG, -EDQUOT: more than file_max, bytes_max; -EPROTO: before `from`,
 * or where no file can have bytes; another -errno. A gap between two pieces counts as a block,
 * since it may take one. */
int tree_content_data(struct tree_content *c, uint64_t offset, const void *p, size_t n);

/* tree_content_end() - it is complete; attr as it is to be shown. 0, or -errno and the copy has no
 * content. tree_content_abort() - it will not be: the copy has none, or keeps the former one;
 * idempotent. */
int tree_content_end(
	struct tree_content *c, const struct file_attr *attr, uint64_t size, uint64_t version);
void tree_content_abort(struct tree_content *c);

/* tree_content_node() - the copy's node, as long as what comes is still wanted. NULL: the copy was
 * removed, or another content was completed meanwhile. tree_content_taken() - what is beside was
 * put into the copy by the caller, whose size and times are right. */
struct tree_node *tree_content_node(const struct tree_content *c);
void tree_content_taken(struct tree_content *c, const struct file_attr *attr, uint64_t version);

/* --- a directory's entries, as they come --- */

/* What the copy of a directory held at the beginning. */
struct tree_listed;

struct tree_listing {
	struct tree *tree;
	int dir;
	char *names; /* one after the other */
	struct tree_listed *entries;
	size_t nentries;
	bool watched;      /* set after _begin(): the guest watches the directory (inotify(7)), */
	const char *moved; /* and this entry, or NULL, came by rename(2) */
};

/* tree_list_begin() - after tree_put() of the directory. tree_list_entry() - name is one component;
 * 0, -EPROTO: it is not, or another -errno. A file too large for the tree's file system has no size
 * until tree_put() is asked for it, and fails. tree_list_end() - what was not listed goes, also
 * when it returns -errno; for the listing to be forgotten without that there is tree_list_abort(),
 * idempotent. Before and after, a listing is TREE_LISTING_NONE. */
#define TREE_LISTING_NONE ((struct tree_listing){ .dir = -1 })
int tree_list_begin(struct tree_listing *l, struct tree *t, const char *path);
int tree_list_entry(struct tree_listing *l, const struct file_attr *attr, const char *name,
	size_t name_len, const char *link, size_t link_len);
int tree_list_end(struct tree_listing *l);
void tree_list_abort(struct tree_listing *l);

#endif

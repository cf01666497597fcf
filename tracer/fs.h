/* The guest's view of files: which path a call means, and whose it is; the way of a call from there
 * to the agent's answer. What is done with the answer is the handlers' (change.c, sys_dir.c,
 * sys_exec.c, sys_inotify.c, sys_open.c, sys_stat.c). */
#ifndef TRACER_FS_H
#define TRACER_FS_H

#include <limits.h>
#include <stdbool.h>

#include "fs_policy.h"
#include "fs_watch.h"
#include "name_copies.h"
#include "remote.h"
#include "tree.h"
#include "writeback.h"
#include "xattr_lacks.h"

struct call;
struct tracer;

/* Attributes that came with a listing are believed for so long, unless something came from the
 * target or the guest changed something meanwhile (tree.epoch). */
#define FS_FRESH_MS 1000

/* Who asks about one entry after the other, without such a pause, may take so long in all: of a
 * large directory the last entries would else be asked about one by one. */
#define FS_WALK_PAUSE_MS 100
#define FS_WALK_MS       30000

struct fs {
	struct tracer *tracer;
	struct fs_policy *policy;
	struct tree tree;
	struct remote remote;
	struct writeback writeback;
	struct fs_watches watches;
	struct name_copies names;
	struct xattr_lacks lacks;
	struct fetch_way ways[FETCH_WAYS];
	struct fs_walk {
		uint64_t ino; /* of the copy that was asked about last */
		uint64_t at_ns;
	} walk;
	uint64_t heard; /* link.mux.heard, as far as the tree's epoch counts it */
	bool on;        /* some path may be the target's */
};

/* fs_check() - whether the options about files make sense, before anything is started: 0, or -1 and
 * e. */
int fs_check(const struct config *cfg, struct err *e);

/* fs_start() - before the guest starts, when the target is known: 0, or -errno and e. */
int fs_start(struct fs *fs, struct tracer *tr, struct err *e);
void fs_done(struct fs *fs);

/* fs_message() - one of the agent's about files; false: it is none of them. */
bool fs_message(struct fs *fs, const struct msg *m);

/* fs_before_send() - the guest is about to say something on the link: what it wrote goes first. */
void fs_before_send(struct fs *fs);

/* fs_process_ends() - a process of the guest executes another program, or ends. */
void fs_process_ends(struct fs *fs);

/* fs_finish(), fs_is_sending() - the guest has ended: what it wrote last is on its way. */
void fs_finish(struct fs *fs);
bool fs_is_sending(const struct fs *fs);

/* fs_link_broken() - the link is lost, and another may come: fs_link_back(). fs_link_lost() - none
 * will. */
void fs_link_broken(struct fs *fs);
void fs_link_back(struct fs *fs);
void fs_link_lost(struct fs *fs);

/* --- paths --- */

/* A path as a call gave it. */
struct fs_name {
	enum fs_where where;
	unsigned arg;   /* which argument of the call it is */
	bool is_empty;  /* "": with AT_EMPTY_PATH the descriptor itself is meant */
	bool displaced; /* what the kernel would find there by itself is not `path`: the way begins
			   in the tree, or --fs-map leads elsewhere */
	bool made;      /* it is nsswitch.conf, local here: opened and looked at, it is the copy at
			   `path` in the tree (name_copies_made()) */
	char full[PATH_MAX]; /* absolute, as the guest sees it, with its "." and ".." and a slash at
				its end: what the agent is asked */
	char path[PATH_MAX]; /* the same without any of those; "": the kernel knows better */
};

/* fs_name_get() - the path that is the call's argument arg, relative to its descriptor dirfd
 * (AT_FDCWD); follow: a link at its end is followed. 0, or -errno for the guest (-EFAULT,
 * -ENAMETOOLONG). A descriptor that is no directory leaves the path local: the kernel knows the
 * error. */
int fs_name_get(struct call *c, uint64_t dirfd, unsigned arg, enum fs_access access, bool follow,
	struct fs_name *n);

/* fs_name_of_fd() - the same for what a descriptor of the guest, or AT_FDCWD, stands for; false: it
 * is not of the tree. */
bool fs_name_of_fd(struct call *c, uint64_t fd, struct fs_name *n);

/* fs_proc_link() - path is one of /proc's links to a file (cwd, exe, fd/N), as the guest sees it:
 * what it says. */
bool fs_proc_link(const struct call *c, const char *path, char target[static PATH_MAX]);

/* fs_proc_open() - the same: that file itself, by O_PATH, the caller's; -1: it is none. */
int fs_proc_open(const struct call *c, const char *path);

/* fs_is_remote() - the call is about a file of the target. Otherwise it is ended: that there is
 * none is its answer, and what is local is done by the guest's kernel (fs_here()). */
bool fs_is_remote(struct call *c, const struct fs_name *n);

/* fs_here() - the kernel does the call, on the local files themselves where they are displaced. Of
 * a call with one path `to` is NULL. */
void fs_here(struct call *c, const struct fs_name *n, const struct fs_name *to);

/* fs_xattr_name() - the name of an extended attribute, which is the second argument of all calls
 * about one: its length, or -errno for the guest. */
#define FS_XATTR_NAME (XATTR_NAME_MAX + 1)
int fs_xattr_name(const struct call *c, char name[static FS_XATTR_NAME]);

/* fs_guest_umask() */
unsigned fs_guest_umask(const struct call *c);

/* --- asking --- */

/* A call that waits for the agent's answer; embedded first in what a handler keeps of it, which is
 * on the heap. After `answer`, which answers the call, it is freed. */
struct fs_wait {
	struct remote_query query;
	struct fs *fs;
	struct call *call;
	void (*answer)(struct fs_wait *w, int error, const struct remote_found *found);
	void (*dropped)(struct fs_wait *w); /* the thread is gone before the answer; or NULL */
	struct deferred release;
};

/* fs_wait_new() - NULL: no memory, the call is answered. */
void *fs_wait_new(struct call *c, size_t size,
	void (*answer)(struct fs_wait *w, int error, const struct remote_found *found));

/* fs_ask() - ask with file_op and park the call; w is taken. */
void fs_ask(struct fs_wait *w, enum file_op op, uint32_t flags, uint64_t a, uint64_t b,
	const char *path, const void *second, size_t n);

/* fs_park() - the caller has asked by himself: r is what remote_open() said. */
void fs_park(struct fs_wait *w, int r);

/* fs_put() - the copy of what was found: an O_PATH descriptor, the caller's, or -errno. */
int fs_put(struct fs *fs, const struct remote_found *found, struct tree_node **node);

/* fs_fresh() - the copy of a name, if what is known of it need not be asked again: an O_PATH
 * descriptor, the caller's, or -1. follow: a symbolic link will not do. */
int fs_fresh(struct fs *fs, const struct fs_name *n, bool follow);

/* fs_fresh_attr() - the same for what a copy does not keep; NULL: it is to be asked. */
const struct file_attr *fs_fresh_attr(struct fs *fs, const struct fs_name *n, bool follow);

#endif

/* The guest's view of files: which path a call means, and whether it is the target's; the steps
 * from there to a copy in the tree. The handlers (sys_open.c, sys_stat.c, sys_dir.c, sys_change.c)
 * use it. */
#ifndef TRACER_FS_H
#define TRACER_FS_H

#include <limits.h>
#include <stdbool.h>

#include "fs_policy.h"
#include "remote.h"
#include "tree.h"
#include "writeback.h"

struct call;
struct tracer;

/* Attributes that came with a listing are believed for so long, unless something came from the
 * target or the guest changed something meanwhile (tree.epoch). */
#define FS_FRESH_MS 1000

struct fs {
	struct tracer *tracer;
	struct fs_policy *policy;
	struct tree tree;
	struct remote remote;
	struct writeback writeback;
	bool on;     /* some path may be the target's */
	bool writes; /* and be written to */
};

/* A path as a call gave it. */
struct fs_name {
	enum fs_where where;
	bool is_empty; /* "": with AT_EMPTY_PATH the descriptor itself is meant */
	bool in_tree;  /* it is relative to a directory of the tree, or names one by the prefix: as
			  it stands the kernel would act on a copy */
	char full[PATH_MAX]; /* absolute, as the guest sees it, with its "." and ".." and a slash at
				its end: what the agent is asked */
	char path[PATH_MAX]; /* the same without any of those */
};

/* fs_name_get() - the path at address path_at in the guest, relative to its descriptor dirfd
 * (AT_FDCWD). 0, or -errno for the guest (-EFAULT, -ENAMETOOLONG, -ENOENT, -EBADF, -ENOTDIR). */
int fs_name_get(
	struct call *c, uint64_t dirfd, uint64_t path_at, enum fs_access access, struct fs_name *n);

/* fs_local() - the call is about a local path: leave it to the kernel, or, where that would act on
 * a copy (in_tree), do it here on n->path. True: the caller calls `here`-style code itself; false:
 * the call was continued. */
bool fs_must_act(struct call *c, const struct fs_name *n);

/* fs_refused() - not found, or not to be had: the call is answered. False: it is remote. */
bool fs_refused(struct call *c, const struct fs_name *n);

#endif

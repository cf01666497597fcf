/* From a path of the target's to what is there: beneath the target's root, whatever symbolic links
 * there are, and to the path by which the target itself would know it. A network namespace has this
 * machine's root, and its own files of /etc/netns/NAME in /etc. */
#ifndef AGENT_RESOLVE_H
#define AGENT_RESOLVE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proto.h"
#include "target.h"

/* Where something is to be made, removed or renamed: a directory, and a name in it. */
struct place {
	int dir;          /* O_PATH */
	const char *last; /* the name for the *at calls, with the slashes that follow it; "/" for a
			     root, which every such call refuses; inside the path given */
	char path[PATH_MAX]; /* canonical, without those slashes */
};

/* resolve_take() - the path of a message, as a string. False: it is one that no client sends,
 * relative, too long, or with a zero byte. An empty one is ENOENT's business. */
bool resolve_take(struct span text, char path[PATH_MAX]);

/* resolve_open() - open a path with flags and mode as open(2) has them. Magic links of the target's
 * /proc are not followed (ELOOP). The fd, which is the caller's, or -errno. What is only looked at
 * (O_PATH) is reached with the target's capabilities where they hold; none holds afterwards
 * (creds_act_on()). */
int resolve_open(const struct target *t, const char *path, int flags, mode_t mode);

/* resolve_open_from() - the same for what follows the first `base` bytes, which name a directory,
 * with more of openat2(2)'s RESOLVE_*. base 0: all of it, from the root. */
int resolve_open_from(const struct target *t, const char *path, size_t base, uint64_t resolve,
	int flags, mode_t mode);

/* resolve_again() - open what is behind a descriptor of any kind, O_PATH too, anew. */
int resolve_again(int fd, int flags);

/* resolve_name() - the canonical path of what is open at fd, as the target sees it; its length, or
 * -errno: -ENOENT when it was removed meanwhile, -ENAMETOOLONG. */
ssize_t resolve_name(const struct target *t, int fd, char path[PATH_MAX]);

/* resolve_is_ours() - it is a file of procfs that is about the agent itself, or may be. The kernel
 * lets a process read and write its own memory and the like, whoever it acts for. */
bool resolve_is_ours(const struct target *t, int fd);

/* resolve_place() - what calls like mkdir(2) need. 0, and dir is the caller's, or -errno. */
int resolve_place(const struct target *t, const char *path, struct place *p);

/* resolve_fd_path() - a path of ours for what is open at fd, which calls follow to it and, if that
 * is a symbolic link, no further. */
#define RESOLVE_FD_PATH 32
const char *resolve_fd_path(int fd, char path[RESOLVE_FD_PATH]);

#endif

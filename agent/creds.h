/* Whom the kernel takes us for when a file of the target's is used: the target's process, with its
 * user, its groups, and those of its capabilities that we have too. Everything else that the agent
 * does, it does as itself. */
#ifndef AGENT_CREDS_H
#define AGENT_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct creds {
	bool foreign; /* false: nothing to change, files are used as ourselves */
	int error;    /* why we cannot be the target, or 0 */
	uid_t uid;    /* in our own user namespace, as is all of this */
	gid_t gid;
	gid_t *groups;
	size_t ngroups;
	uint64_t effective; /* capabilities */

	/* Ours, from creds_adopt() on. */
	uid_t own_uid;
	gid_t own_gid;
	uint64_t own_effective, own_permitted, own_inheritable;
};

/* creds_of_process() - those of the process whose directory in /proc is open as proc; with
 * capabilities of another user namespace there are none. 0 or -errno. */
int creds_of_process(struct creds *c, int proc);
void creds_done(struct creds *c);

/* creds_adopt() - take its supplementary groups, for good, and see whether we may be it at all. */
void creds_adopt(struct creds *c);

/* creds_enter(), creds_leave() - around the use of files. 0, or -EPERM when that cannot be done;
 * then there is nothing to leave. */
int creds_enter(const struct creds *c);
void creds_leave(const struct creds *c);

#endif

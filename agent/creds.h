/* Whom the kernel takes us for when a file of the target's is used: the target's process, with its
 * user, its groups, and those of its capabilities that we have too. Everything else that the agent
 * does, it does as itself. */
#ifndef AGENT_CREDS_H
#define AGENT_CREDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Ids of a user namespace, and what they are in ours (user_namespaces(7)). */
struct id_range {
	uint32_t inside, outside, count;
};

struct id_map {
	struct id_range *ranges;
	size_t n;
};

struct creds {
	bool foreign; /* false: nothing to change, files are used as ourselves */
	bool mapped;  /* its user namespace is another: ids are told as it knows them */
	int error;    /* why we cannot be the target, or 0 */
	uid_t uid;    /* in our own user namespace, as is all of this */
	gid_t gid;
	gid_t *groups;
	size_t ngroups;
	uint64_t effective; /* capabilities */
	struct id_map uids, gids;

	/* Ours, from creds_adopt() on. */
	uid_t own_uid;
	gid_t own_gid;
	uint64_t own_effective, own_permitted, own_inheritable;
};

/* creds_of_process() - those of the process whose directory in /proc is open as proc. 0 or -errno.
 */
int creds_of_process(struct creds *c, int proc);
void creds_done(struct creds *c);

/* creds_adopt() - take its supplementary groups, for good, and see whether we may be it at all. */
void creds_adopt(struct creds *c);

/* creds_enter(), creds_leave() - around the use of files. 0, or -EPERM when that cannot be done;
 * then there is nothing to leave. */
int creds_enter(const struct creds *c);
void creds_leave(const struct creds *c);

/* Inside, for a process in another user namespace, whose capabilities hold only for files whose
 * owner that namespace knows. They are those that hold
 *   creds_act_on()        for the file that is open at fd, or in that directory;
 *   creds_act_anywhere()  for some file: all of them. Who does this judges by himself what came of
 *                         it;
 *   creds_act_nowhere()   for no file, as it is in the beginning. */
void creds_act_on(const struct creds *c, int fd);
void creds_act_anywhere(const struct creds *c);
void creds_act_nowhere(const struct creds *c);

/* An id of ours as the process knows it, or the one it has for those that it does not know. */
uid_t creds_uid_inside(const struct creds *c, uid_t uid);
gid_t creds_gid_inside(const struct creds *c, gid_t gid);

/* The other way round; false: there is no such id. That of none, 2^32-1, stays what it is. */
bool creds_uid_outside(const struct creds *c, uint64_t inside, uid_t *uid);
bool creds_gid_outside(const struct creds *c, uint64_t inside, gid_t *gid);

#endif

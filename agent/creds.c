/* Theory of operation. The kernel checks files against the ids of the file system and the effective
 * capabilities, but what it makes up by itself, as /proc/sys, against the effective ids; and the
 * server of a unix socket is told those, too. So it is the effective ids that change (the former
 * follow them, credentials(7)); the real and the saved ones and the permitted capabilities stay as
 * they are, so that all can be changed back. The supplementary groups have no such copy. Nothing
 * else of what we do asks for them, so they are changed once.
 *
 * Capabilities of a process in another user namespace hold for files whose owner and group that
 * namespace knows (capable_wrt_inode_uidgid() in the kernel), ours would hold for all. So they are
 * effective only while something is done to one file, if they hold for that; a path of many
 * directories is the business of resolve.c. */
#include "creds.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "log.h"
#include "util.h"

/* Those that hold for files of a user namespace; the others are asked for in the first one alone.
 */
#define INODE_CAPS                                                                                 \
	(1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH | 1u << CAP_FOWNER | \
		1u << CAP_FSETID)

/* What an id is shown as that a namespace does not know (the default of
 * /proc/sys/kernel/overflowuid). */
#define OVERFLOW_ID 65534

/* A namespace's map has no more lines (user_namespaces(7)). */
#define ID_RANGES_MAX 340

/* --- what /proc tells --- */

/* The fourth number of a line "Uid:": real, effective, saved, file system (proc(5)). */
static bool parse_id(const char *text, id_t *id)
{
	unsigned value;

	if (sscanf(text, "%*u %*u %*u %u", &value) != 1)
		return false;
	*id = value;
	return true;
}

static bool parse_uid(struct creds *c, const char *text)
{
	return parse_id(text, &c->uid);
}

static bool parse_gid(struct creds *c, const char *text)
{
	return parse_id(text, &c->gid);
}

static bool add_group(struct creds *c, gid_t group)
{
	gid_t *more = reallocarray(c->groups, c->ngroups + 1, sizeof(*more));

	if (!more)
		return false;
	more[c->ngroups++] = group;
	c->groups = more;
	return true;
}

static bool parse_groups(struct creds *c, const char *text)
{
	char *end;

	for (;; text = end) {
		unsigned long group = strtoul(text, &end, 10);

		if (end == text)
			return true;
		if (!add_group(c, (gid_t)group))
			return false;
	}
}

static bool parse_effective(struct creds *c, const char *text)
{
	char *end;

	c->effective = strtoull(text, &end, 16);
	return end != text;
}

static const struct status_row {
	const char *name;
	bool (*parse)(struct creds *c, const char *text);
} status_rows[] = {
	{ "Uid:", parse_uid },
	{ "Gid:", parse_gid },
	{ "Groups:", parse_groups },
	{ "CapEff:", parse_effective },
};

/* One line of /proc/PID/status: how many of the rows it was, or -errno. */
static int parse_line(struct creds *c, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(status_rows); i++) {
		size_t n = strlen(status_rows[i].name);

		if (strncmp(line, status_rows[i].name, n) == 0)
			return status_rows[i].parse(c, line + n) ? 1 : -EPROTO;
	}
	return 0;
}

static int parse_status(struct creds *c, FILE *f)
{
	cleanup_free char *line = NULL;
	size_t size = 0, found = 0;
	int r = 0;

	while (r >= 0 && getline(&line, &size, f) > 0) {
		r = parse_line(c, line);
		found += r > 0;
	}
	if (r < 0)
		return r;
	return found == ARRAY_SIZE(status_rows) ? 0 : -EPROTO;
}

static bool in_our_user_namespace(int proc)
{
	struct stat theirs, ours;

	return fstatat(proc, "ns/user", &theirs, 0) == 0 &&
	       stat("/proc/self/ns/user", &ours) == 0 && theirs.st_ino == ours.st_ino &&
	       theirs.st_dev == ours.st_dev;
}

static FILE *open_in(int proc, const char *name)
{
	int fd = openat(proc, name, O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f)
		close_fd(&fd);
	return f;
}

/* To a reader in another namespace the second column is of the reader's. */
static int read_map(struct id_map *map, int proc, const char *name)
{
	struct id_range r;
	FILE *f = open_in(proc, name);

	if (!f)
		return -errno;
	map->ranges = calloc(ID_RANGES_MAX, sizeof(*map->ranges));
	while (map->ranges && map->n < ID_RANGES_MAX &&
		fscanf(f, "%u %u %u", &r.inside, &r.outside, &r.count) == 3)
		map->ranges[map->n++] = r;
	fclose(f);
	return map->ranges ? 0 : -ENOMEM;
}

static int read_namespace(struct creds *c, int proc)
{
	int r;

	if (in_our_user_namespace(proc))
		return 0;
	c->mapped = true;
	c->effective &= INODE_CAPS;
	r = read_map(&c->uids, proc, "uid_map");
	return r < 0 ? r : read_map(&c->gids, proc, "gid_map");
}

int creds_of_process(struct creds *c, int proc)
{
	FILE *f = open_in(proc, "status");
	int r;

	*c = (struct creds){ .foreign = true };
	if (!f)
		return -errno;
	r = parse_status(c, f);
	fclose(f);
	if (r == 0)
		r = read_namespace(c, proc);
	if (r < 0)
		creds_done(c);
	return r;
}

void creds_done(struct creds *c)
{
	free(c->groups);
	free(c->uids.ranges);
	free(c->gids.ranges);
	*c = (struct creds){ 0 };
}

/* --- ids --- */

static bool to_inside(const struct id_map *map, uint32_t id, uint32_t *inside)
{
	for (size_t i = 0; i < map->n; i++) {
		const struct id_range *r = &map->ranges[i];

		if (id >= r->outside && id - r->outside < r->count) {
			*inside = r->inside + (id - r->outside);
			return true;
		}
	}
	return false;
}

static bool to_outside(
	const struct creds *c, const struct id_map *map, uint64_t id, uint32_t *outside)
{
	if (!c->mapped || id == UINT32_MAX) {
		*outside = (uint32_t)id;
		return id <= UINT32_MAX;
	}
	for (size_t i = 0; i < map->n; i++) {
		const struct id_range *r = &map->ranges[i];

		if (id >= r->inside && id - r->inside < r->count) {
			*outside = r->outside + (uint32_t)(id - r->inside);
			return true;
		}
	}
	return false;
}

uid_t creds_uid_inside(const struct creds *c, uid_t uid)
{
	if (!c->mapped)
		return uid;
	return to_inside(&c->uids, uid, &uid) ? uid : OVERFLOW_ID;
}

gid_t creds_gid_inside(const struct creds *c, gid_t gid)
{
	if (!c->mapped)
		return gid;
	return to_inside(&c->gids, gid, &gid) ? gid : OVERFLOW_ID;
}

bool creds_uid_outside(const struct creds *c, uint64_t inside, uid_t *uid)
{
	return to_outside(c, &c->uids, inside, uid);
}

bool creds_gid_outside(const struct creds *c, uint64_t inside, gid_t *gid)
{
	return to_outside(c, &c->gids, inside, gid);
}

/* --- being it --- */

static int get_caps(struct creds *c)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &header, d) < 0)
		return -errno;
	c->own_effective = d[0].effective | (uint64_t)d[1].effective << 32;
	c->own_permitted = d[0].permitted | (uint64_t)d[1].permitted << 32;
	c->own_inheritable = d[0].inheritable | (uint64_t)d[1].inheritable << 32;
	return 0;
}

/* It fails for nothing but bits that are not permitted (capset(2)), and there are none. */
static void set_effective(const struct creds *c, uint64_t effective)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct d[2] = {
		{ (uint32_t)effective, (uint32_t)c->own_permitted, (uint32_t)c->own_inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(c->own_permitted >> 32),
			(uint32_t)(c->own_inheritable >> 32) },
	};

	syscall(SYS_capset, &header, d);
}

static bool has_groups(const struct creds *c)
{
	size_t n = c->ngroups;
	cleanup_free gid_t *now = calloc(n + 1, sizeof(*now));

	if (!now || getgroups((int)n + 1, now) != (int)n)
		return false;
	return n == 0 || memcmp(now, c->groups, n * sizeof(*now)) == 0;
}

void creds_adopt(struct creds *c)
{
	if (!c->foreign)
		return;
	c->own_uid = geteuid();
	c->own_gid = getegid();
	c->error = -get_caps(c);
	c->effective &= c->own_effective;
	if (!c->error && !has_groups(c) && setgroups(c->ngroups, c->groups) < 0)
		c->error = errno;
	if (!c->error && creds_enter(c) == 0)
		creds_leave(c);
	else if (!c->error)
		c->error = EPERM;
	if (c->error)
		log_dbg("cannot use files as user %u: %s", c->uid, strerror(c->error));
}

int creds_enter(const struct creds *c)
{
	if (!c->foreign)
		return 0;
	if (c->error)
		return -EPERM;
	if (setegid(c->gid) < 0 || seteuid(c->uid) < 0) {
		creds_leave(c);
		return -EPERM;
	}
	/* Last: that of seteuid(2) drops and raises some of them itself. */
	set_effective(c, c->mapped ? 0 : c->effective);
	return 0;
}

/* It fails for no reason: those are the saved ones. */
void creds_leave(const struct creds *c)
{
	if (!c->foreign)
		return;
	if (seteuid(c->own_uid) < 0 || setegid(c->own_gid) < 0)
		die(EXIT_OURS, "cannot be user %u again: %s", c->own_uid, strerror(errno));
	set_effective(c, c->own_effective);
}

static bool knows_owner(const struct creds *c, int fd)
{
	struct stat st;
	uint32_t id;

	return fstat(fd, &st) == 0 && to_inside(&c->uids, st.st_uid, &id) &&
	       to_inside(&c->gids, st.st_gid, &id);
}

static bool may_lack_caps(const struct creds *c)
{
	return c->mapped && c->foreign && !c->error;
}

void creds_act_on(const struct creds *c, int fd)
{
	if (may_lack_caps(c))
		set_effective(c, knows_owner(c, fd) ? c->effective : 0);
}

void creds_act_anywhere(const struct creds *c)
{
	if (may_lack_caps(c))
		set_effective(c, c->effective);
}

void creds_act_nowhere(const struct creds *c)
{
	if (may_lack_caps(c))
		set_effective(c, 0);
}

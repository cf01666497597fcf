/* Theory of operation. The kernel checks files against the ids of the file system (setfsuid(2)) and
 * the effective capabilities (capabilities(7)), which one thread may change and change back: the
 * real ids and the permitted capabilities stay as they are. The supplementary groups have no such
 * copy. Nothing else of what we do asks for them, so they are changed once.
 *
 * Capabilities of a process in another user namespace hold for files whose owner that namespace
 * knows (capable_wrt_inode_uidgid() in the kernel), ours would hold for all. There is no way to
 * have the one without the other short of entering it, which cannot be undone; so we have none. */
#include "creds.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "log.h"
#include "util.h"

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

int creds_of_process(struct creds *c, int proc)
{
	int fd = openat(proc, "status", O_RDONLY | O_CLOEXEC), r;
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	*c = (struct creds){ .foreign = true };
	if (!f) {
		r = -errno;
		close_fd(&fd);
		return r;
	}
	r = parse_status(c, f);
	fclose(f);
	if (r < 0)
		creds_done(c);
	else if (!in_our_user_namespace(proc))
		c->effective = 0;
	return r;
}

void creds_done(struct creds *c)
{
	free(c->groups);
	c->groups = NULL;
	c->ngroups = 0;
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

/* setfsuid(2) tells nothing but the former id; what no user has changes nothing. */
static bool is_it(const struct creds *c)
{
	return (uid_t)setfsuid((uid_t)-1) == c->uid && (gid_t)setfsgid((gid_t)-1) == c->gid;
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
	if (!c->error && creds_enter(c) == 0) {
		c->error = is_it(c) ? 0 : EPERM;
		creds_leave(c);
	}
	if (c->error)
		log_dbg("cannot use files as user %u: %s", c->uid, strerror(c->error));
}

int creds_enter(const struct creds *c)
{
	if (!c->foreign)
		return 0;
	if (c->error)
		return -EPERM;
	setfsgid(c->gid);
	setfsuid(c->uid);
	/* Last: that of setfsuid(2) drops and raises some of them itself. */
	set_effective(c, c->effective);
	return 0;
}

void creds_leave(const struct creds *c)
{
	if (!c->foreign)
		return;
	setfsuid(c->own_uid);
	setfsgid(c->own_gid);
	set_effective(c, c->own_effective);
}

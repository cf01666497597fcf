#include "context.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "log.h"

/* --- names --- */

/* Those of the target's UTS namespace, which may change; there is no way to ask but from inside. */
static void read_names(const struct target *t, struct utsname *names)
{
	cleanup_fd int ours = t->uts < 0 ? -1 : open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	bool inside = ours >= 0 && setns(t->uts, CLONE_NEWUTS) == 0;

	*names = (struct utsname){ 0 };
	uname(names);
	if (inside && setns(ours, CLONE_NEWUTS) < 0)
		log_err("cannot leave the target's UTS namespace: %s", strerror(errno));
}

/* --- mounts --- */

/* Where every machine has something mounted, now and then: what is there is no matter of the
 * target's own. */
static bool is_common(const char *path)
{
	static const char *const below[] = { "/proc", "/sys", "/dev" };
	static const char *const exactly[] = { "/", "/usr", "/lib", "/lib32", "/lib64", "/libx32",
		"/bin", "/sbin", "/etc", "/home", "/root", "/tmp", "/run", "/var", "/opt", "/boot",
		"/var/tmp" };

	for (size_t i = 0; i < ARRAY_SIZE(below); i++) {
		size_t n = strlen(below[i]);

		if (strncmp(path, below[i], n) == 0 && (!path[n] || path[n] == '/'))
			return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(exactly); i++) {
		if (strcmp(path, exactly[i]) == 0)
			return true;
	}
	return false;
}

static bool is_octal(char c)
{
	return c >= '0' && c <= '7';
}

/* Undo \040 and the like (proc(5)), in place. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (*s == '\\' && is_octal(s[1]) && is_octal(s[2]) && is_octal(s[3])) {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* The fifth field of a line of mountinfo, in place; NULL: there is none. */
static char *mount_point(char *line)
{
	char *p = line;

	for (int field = 1; p && field < 5; field++) {
		p = strchr(p, ' ');
		p = p ? p + 1 : NULL;
	}
	if (!p)
		return NULL;
	p[strcspn(p, " \n")] = '\0';
	unescape(p);
	return p;
}

/* Append the mount points, each with its zero byte, as many as fit. */
static void put_mounts(struct buf *b, FILE *f)
{
	cleanup_free char *line = NULL;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		const char *path = mount_point(line);

		if (path && *path == '/' && !is_common(path) &&
			buf_put(b, path, strlen(path) + 1) < 0)
			return;
	}
}

static void read_mounts(const struct target *t, struct buf *b)
{
	int fd = t->proc < 0 ? -1 : openat(t->proc, "mountinfo", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");

	if (!f) {
		close_fd(&fd);
		return;
	}
	put_mounts(b, f);
	fclose(f);
}

/* --- the answers --- */

static struct span text_of(const char *s)
{
	return (struct span){ s, (uint32_t)strnlen(s, 64) };
}

void context_send(struct mux *mux, const struct target *t, uint32_t id)
{
	struct utsname names;
	struct buf mounts;
	struct msg m = { .type = MSG_context, .id = id };

	read_names(t, &names);
	buf_init(&mounts, PROTO_DATA_MAX);
	read_mounts(t, &mounts);
	m.context.uid = t->creds.foreign ? creds_uid_inside(&t->creds, t->creds.uid) : geteuid();
	m.context.gid = t->creds.foreign ? creds_gid_inside(&t->creds, t->creds.gid) : getegid();
	m.context.has_files = t->root >= 0;
	m.context.nodename = text_of(names.nodename);
	m.context.domainname = text_of(names.domainname);
	m.context.mounts = (struct span){ buf_head(&mounts), (uint32_t)buf_len(&mounts) };
	log_dbg("context: %.64s, user %u", names.nodename, m.context.uid);
	mux_send(mux, &m);
	buf_done(&mounts);
}

static void send_part(struct mux *mux, uint32_t id, int error, const void *p, size_t n, bool more)
{
	struct msg m = {
		.type = MSG_environ,
		.id = id,
		.environ = { .error = (uint32_t)error, .more = more, .bytes = { p, (uint32_t)n } },
	};

	mux_send(mux, &m);
}

/* All of it into b; 0 or -errno. */
static int read_environ(const struct target *t, struct buf *b)
{
	cleanup_fd int fd = t->proc < 0 ? -1 : openat(t->proc, "environ", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (t->proc < 0)
		return 0;
	if (fd < 0)
		return -errno;
	for (;;) {
		uint8_t *to = buf_reserve(b, PROTO_DATA_MAX);

		if (!to)
			return -E2BIG;
		n = read(fd, to, PROTO_DATA_MAX);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return 0;
		if (n > 0)
			buf_commit(b, (size_t)n);
	}
}

void environ_send(struct mux *mux, const struct target *t, uint32_t id)
{
	struct buf b;
	int r;

	buf_init(&b, ENVIRON_MAX);
	r = read_environ(t, &b);
	log_dbg("environ: %s", r < 0 ? strerror(-r) : "sent");
	for (; r == 0 && buf_len(&b) > PROTO_DATA_MAX; buf_consume(&b, PROTO_DATA_MAX))
		send_part(mux, id, 0, buf_head(&b), PROTO_DATA_MAX, true);
	send_part(mux, id, -r, buf_head(&b), r < 0 ? 0 : buf_len(&b), false);
	buf_done(&b);
}

/* A target is named in one of three ways, and each ends in one open network namespace file:
 *
 *   pid:N          /proc/N/ns/net
 *   container:ID   the oldest process whose /proc/N/cgroup has a path component that carries the id
 *   netns:PATH     the file itself, as `ip netns` and container runtimes bind-mount it
 *
 * Container runtimes put the id into the cgroup's name, under the process's cgroup hierarchy of v1
 * as of v2, so that no runtime's socket is needed. The oldest process is the container's first:
 * what `docker exec` or a shell adds is younger. */
#include "target.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "util.h"

#define CONTAINER_ID_LEN 80 /* longer ones are cut where they are shown */
#define CONTAINERS_SHOWN 4  /* of those that an id may mean */

/* What looks like an id of a runtime: this many hex digits or more. */
#define CONTAINER_ID_MIN 12

/* What is searched for among all processes, and what has been found. */
struct search {
	const char *id;
	pid_t pid;      /* the oldest process so far, or 0 */
	uint64_t start; /* its start time, in clock ticks since boot */
	char found[CONTAINERS_SHOWN][CONTAINER_ID_LEN];
	size_t nfound;
};

/* A part of a string. */
struct part {
	const char *p;
	size_t len;
};

/* The first bytes of a file as a string; false when it cannot be read. */
static bool read_file(const char *path, char *s, size_t size)
{
	cleanup_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, s, size - 1);

	if (n < 0)
		return false;
	s[n] = '\0';
	return true;
}

/* A name that came from elsewhere, without its line end, fit for a terminal. */
static void make_printable(char *s)
{
	s[strcspn(s, "\n")] = '\0';
	for (; *s; s++) {
		if (iscntrl((unsigned char)*s))
			*s = '?';
	}
}

/* --- containers --- */

/* The container id in one component of a cgroup path: what is left when the runtime's own prefix
 * and suffix are off. */
static struct part component_id(struct part c)
{
	static const char *const prefixes[] = { "docker-", "cri-containerd-", "libpod-", "crio-" };
	static const char suffix[] = ".scope";
	size_t end = sizeof(suffix) - 1;

	if (c.len <= end || memcmp(c.p + c.len - end, suffix, end) != 0)
		return c;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		size_t n = strlen(prefixes[i]);

		if (c.len > n + end && memcmp(c.p, prefixes[i], n) == 0)
			return (struct part){ c.p + n, c.len - n - end };
	}
	return c;
}

static bool looks_like_id(struct part id)
{
	for (size_t i = 0; i < id.len; i++) {
		if (!isxdigit((unsigned char)id.p[i]))
			return false;
	}
	return id.len >= CONTAINER_ID_MIN;
}

/* A shortened id is enough, unless it might mean a group that is no container: an inner one, or a
 * unit of systemd, as "container:s" would otherwise mean system.slice. */
static bool id_matches(struct part id, bool innermost, const char *want)
{
	size_t n = strlen(want);

	if (n == 0 || id.len < n || memcmp(id.p, want, n) != 0)
		return false;
	return id.len == n || looks_like_id(id) || (innermost && !memchr(id.p, '.', id.len));
}

/* The container wanted in one line of /proc/N/cgroup, "ID:CONTROLLERS:PATH"; p NULL when it is not
 * there. */
static struct part cgroup_line_id(const char *line, const char *want)
{
	const char *p = strchr(line, ':');

	p = p ? strchr(p + 1, ':') : NULL;
	while (p && *p && *p != '\n') {
		size_t n = strcspn(++p, "/\n");
		struct part id = component_id((struct part){ p, n });

		if (id_matches(id, p[n] != '/', want))
			return id;
		p += n;
	}
	return (struct part){ 0 };
}

/* Field 22 of /proc/N/stat. The name in field 2 may hold anything, blanks and brackets too. */
static bool stat_start_time(const char *stat, uint64_t *start)
{
	const char *p = strrchr(stat, ')');
	unsigned long long v;

	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p || sscanf(p, "%llu", &v) != 1)
		return false;
	*start = v;
	return true;
}

/* Remember a container's id, each once. */
static void note_container(struct search *s, struct part id)
{
	char text[CONTAINER_ID_LEN];

	snprintf(text, sizeof(text), "%.*s", (int)MIN(id.len, sizeof(text) - 1), id.p);
	for (size_t i = 0; i < s->nfound; i++) {
		if (strcmp(s->found[i], text) == 0)
			return;
	}
	if (s->nfound < CONTAINERS_SHOWN)
		memcpy(s->found[s->nfound++], text, sizeof(text));
}

/* Whether a process's cgroups name the container; the ids are noted. */
static bool in_container(struct search *s, pid_t pid)
{
	cleanup_free char *line = NULL;
	size_t size = 0;
	char path[64];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", pid);
	f = fopen(path, "re");
	if (!f)
		return false;
	while (getline(&line, &size, f) > 0) {
		struct part id = cgroup_line_id(line, s->id);

		if (!id.p)
			continue;
		note_container(s, id);
		found = true;
	}
	fclose(f);
	return found;
}

static void look_at(struct search *s, pid_t pid)
{
	char path[64], stat[1024];
	uint64_t start;

	if (!in_container(s, pid))
		return;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (!read_file(path, stat, sizeof(stat)) || !stat_start_time(stat, &start))
		return; /* it ended meanwhile */
	if (!s->pid || start < s->start || (start == s->start && pid < s->pid)) {
		s->pid = pid;
		s->start = start;
	}
}

static int ambiguous(const struct search *s, struct err *e)
{
	char list[CONTAINERS_SHOWN * (CONTAINER_ID_LEN + 1)] = "";
	size_t len = 0;

	for (size_t i = 0; i < s->nfound; i++)
		len += (size_t)snprintf(list + len, sizeof(list) - len, " %s", s->found[i]);
	return err_set(
		e, -ENOTUNIQ, "container:%.80s may mean%s; give more of the id", s->id, list);
}

static int find_container(const char *id, pid_t *pid, struct err *e)
{
	struct search s = { .id = id };
	DIR *proc = opendir("/proc");
	const struct dirent *d;

	if (!proc)
		return err_set(e, -errno, "cannot read /proc: %s; mount it", strerror(errno));
	while ((d = readdir(proc))) {
		if (isdigit((unsigned char)d->d_name[0]))
			look_at(&s, atoi(d->d_name));
	}
	closedir(proc);
	if (s.nfound > 1)
		return ambiguous(&s, e);
	if (!s.pid)
		return err_set(e, -ESRCH,
			"no process here belongs to a container %s; check the id, and that this is "
			"its node and the host's PID namespace",
			id);
	*pid = s.pid;
	return 0;
}

/* --- opening --- */

static int cannot_open(const char *what, int error, struct err *e)
{
	if (error == EACCES || error == EPERM)
		return err_set(e, -error,
			"may not open the network namespace of %s; run as root, or with "
			"CAP_SYS_PTRACE and CAP_SYS_ADMIN",
			what);
	return err_set(
		e, -error, "cannot open the network namespace of %s: %s", what, strerror(error));
}

/* What there is of a process besides its network namespace. */
static int open_process(struct target *t, pid_t pid, struct err *e)
{
	char path[64];
	int r;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	t->proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	t->root = openat(t->proc, "root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (t->root < 0)
		return err_set(e, -errno, "cannot open the root directory of process %d: %s", pid,
			strerror(errno));
	t->uts = openat(t->proc, "ns/uts", O_RDONLY | O_CLOEXEC);
	r = creds_of_process(&t->creds, t->proc);
	if (r < 0)
		return err_set(e, r, "cannot read what user process %d is: %s", pid, strerror(-r));
	return 0;
}

static int open_pid(struct target *t, pid_t pid, struct err *e)
{
	char path[64], what[32], comm[32];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	snprintf(what, sizeof(what), "process %d", pid);
	t->netns = open(path, O_RDONLY | O_CLOEXEC);
	/* A zombie has a directory in /proc, but no namespaces. */
	if (t->netns < 0 && (errno == ENOENT || errno == ESRCH))
		return err_set(e, -ESRCH, "there is no running process %d; check the pid", pid);
	if (t->netns < 0)
		return cannot_open(what, errno, e);
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	if (!read_file(path, comm, sizeof(comm)))
		strcpy(comm, "?");
	make_printable(comm);
	snprintf(t->about, sizeof(t->about), "pid %d (%s)", pid, comm);
	return open_process(t, pid, e);
}

static int find_pid(struct target *t, const char *text, struct err *e)
{
	char *end;
	long pid;

	errno = 0;
	pid = strtol(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || pid < 1 || pid > INT32_MAX)
		return err_set(e, -EINVAL, "\"%s\" is not a process id; say pid:NUMBER", text);
	return open_pid(t, (pid_t)pid, e);
}

static int find_by_container(struct target *t, const char *id, struct err *e)
{
	pid_t pid;
	int r;

	if (!*id)
		return err_set(e, -EINVAL, "the container id is missing; say container:ID");
	r = find_container(id, &pid, e);
	return r < 0 ? r : open_pid(t, pid, e);
}

/* The files of a namespace that has a name, if there are any (ip-netns(8)). */
static void open_etc(struct target *t, const char *path)
{
	static const char *const places[] = { "/run/netns/", "/var/run/netns/" };
	char etc[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		size_t n = strlen(places[i]);

		if (strncmp(path, places[i], n) != 0 || strchr(path + n, '/'))
			continue;
		if (snprintf(etc, sizeof(etc), "/etc/netns/%s", path + n) < (int)sizeof(etc))
			t->etc = open(etc, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
}

static int find_netns(struct target *t, const char *path, struct err *e)
{
	int type;

	/* A path may name anything; a fifo is not to block us. */
	t->netns = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (t->netns < 0 && errno == ENOENT)
		return err_set(e, -ENOENT,
			"there is no network namespace at %s; `ip netns` lists those that have a "
			"name",
			path);
	if (t->netns < 0)
		return cannot_open(path, errno, e);
	type = ioctl(t->netns, NS_GET_NSTYPE);
	if (type != CLONE_NEWNET) {
		close_fd(&t->netns);
		return err_set(e, -EINVAL,
			"%s is not a network namespace; name a file such as /run/netns/NAME or "
			"/proc/PID/ns/net",
			path);
	}
	open_etc(t, path);
	snprintf(t->about, sizeof(t->about), "netns %s", path);
	make_printable(t->about);
	return 0;
}

int target_find(struct target *t, const char *spec, struct err *e)
{
	static const struct {
		const char *prefix;
		int (*find)(struct target *t, const char *rest, struct err *e);
	} kinds[] = {
		{ "pid:", find_pid },
		{ "container:", find_by_container },
		{ "netns:", find_netns },
	};

	*t = (struct target)TARGET_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);

		if (strncmp(spec, kinds[i].prefix, n) == 0)
			return kinds[i].find(t, spec + n, e);
	}
	return err_set(
		e, -EINVAL, "\"%s\" is not a target; say pid:N, container:ID or netns:PATH", spec);
}

void target_close(struct target *t)
{
	close_fd(&t->netns);
	close_fd(&t->root);
	close_fd(&t->etc);
	close_fd(&t->proc);
	close_fd(&t->uts);
	creds_done(&t->creds);
}

int target_enter(struct target *t, struct err *e)
{
	struct stat st;
	int error = 0;

	if (fstat(t->netns, &st) < 0 || setns(t->netns, CLONE_NEWNET) < 0)
		error = errno;
	close_fd(&t->netns);
	if (error == EPERM)
		return err_set(e, -error,
			"may not enter the network namespace of the target, %s; run as root, or "
			"with "
			"CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW",
			t->about);
	if (error)
		return err_set(e, -error,
			"cannot enter the network namespace of the target, %s: %s", t->about,
			strerror(error));
	t->netns_dev = st.st_dev;
	t->netns_ino = st.st_ino;
	if (!read_file("/proc/sys/kernel/random/boot_id", t->boot_id, sizeof(t->boot_id)))
		t->boot_id[0] = '\0';
	make_printable(t->boot_id);
	creds_adopt(&t->creds);
	return 0;
}

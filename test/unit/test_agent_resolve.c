/* Paths of a target whose root is a directory made for it. */
#include "agent/creds.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include <sys/mount.h>

#include "agent_target.h"

static struct target target = TARGET_NONE;
static char deep[PATH_MAX]; /* as long as a path may be */

static int set_up(void **state)
{
	int r = dir_begin(state);

	if (r)
		return r;
	target.root = openat(dir, ".", O_PATH | O_CLOEXEC);
	return mkdirat(dir, "d", 0755) < 0 || mkdirat(dir, "d/e", 0755) < 0 ||
	       symlinkat("/d/e", dir, "abs") < 0 || symlinkat("../../../d/f", dir, "d/up") < 0 ||
	       symlinkat("loop2", dir, "loop") < 0 || symlinkat("loop", dir, "loop2") < 0 ||
	       symlinkat("nowhere", dir, "dangling") < 0 || symlinkat("e", dir, "d/rel") < 0 ||
	       mkdirat(dir, "d/\377\n\"", 0755) < 0 || mkdirat(dir, "x (deleted)", 0755) < 0;
}

static int tear_down(void **state)
{
	target_close(&target);
	return dir_end(state);
}

static void a_path_has_one_canonical_form(void **state)
{
	static const struct {
		const char *path;
		int flags;
		const char *name;
		int error;
	} cases[] = {
		{ "/", 0, "/", 0 },
		{ "//..//.", 0, "/", 0 },
		{ "/d/f", 0, "/d/f", 0 },
		{ "/../../d//./e/../f", 0, "/d/f", 0 },
		{ "/d/e/", 0, "/d/e", 0 },
		{ "/abs", 0, "/d/e", 0 },
		{ "/abs", O_NOFOLLOW, "/abs", 0 },
		{ "/abs/", O_NOFOLLOW, "/d/e", 0 },
		{ "/abs/../up", 0, "/d/f", 0 }, /* its absolute link stays beneath the root */
		{ "/d/rel/../f", 0, "/d/f", 0 },
		{ "/d/\377\n\"", 0, "/d/\377\n\"", 0 },
		{ "/x (deleted)", 0, "/x (deleted)", 0 },
		{ "/loop", 0, NULL, ELOOP },
		{ "/loop", O_NOFOLLOW, "/loop", 0 },
		{ "/dangling", 0, NULL, ENOENT },
		{ "/d/f/", 0, NULL, ENOTDIR },
		{ "/d/f/..", 0, NULL, ENOTDIR },
		{ "/d/f", O_DIRECTORY, NULL, ENOTDIR },
		{ "", 0, NULL, ENOENT },
	};

	(void)state;
	dir_file("d/f", "", 0, 0, 0600);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[PATH_MAX];
		cleanup_fd int fd = resolve_open(
			&target, cases[i].path, O_PATH | cases[i].flags, 0);
		ssize_t n = fd < 0 ? fd : resolve_name(&target, fd, name);

		if (n < 0 ? n != -cases[i].error
			  : !cases[i].name || strcmp(name, cases[i].name) != 0)
			fail_msg("\"%s\": %s", cases[i].path, n < 0 ? strerror((int)-n) : name);
	}
}

static void what_was_removed_has_no_name(void **state)
{
	char name[PATH_MAX];
	cleanup_fd int file = -1, root = -1;
	struct target gone = TARGET_NONE;

	(void)state;
	dir_file("victim", "", 0, 0, 0600);
	file = resolve_open(&target, "/victim", O_PATH, 0);
	assert_true(file >= 0);
	assert_int_equal(unlinkat(dir, "victim", 0), 0);
	assert_int_equal(resolve_name(&target, file, name), -ENOENT);
	dir_file("victim", "", 0, 0, 0600); /* another one */
	assert_int_equal(resolve_name(&target, file, name), -ENOENT);
	dir_file("victim (deleted)", "", 0, 0, 0600);
	assert_int_equal(resolve_name(&target, file, name), -ENOENT);
	/* A root that is elsewhere. */
	gone.root = root = openat(dir, "d/e", O_PATH | O_CLOEXEC);
	close_fd(&file);
	file = resolve_open(&target, "/d/f", O_PATH, 0);
	assert_int_equal(resolve_name(&gone, file, name), -ENOENT);
}

static void a_place_is_a_directory_and_a_name(void **state)
{
	static const struct {
		const char *path, *last, *name;
		int error;
	} cases[] = {
		{ "/new", "new", "/new", 0 },
		{ "/d/new", "new", "/d/new", 0 },
		{ "//d///new//", "new//", "/d/new", 0 },
		{ "/abs/new/", "new/", "/d/e/new", 0 },
		{ "/abs", "abs", "/abs", 0 },
		{ "/", "/", NULL, 0 },
		{ "///", "/", NULL, 0 },
		{ "/d/.", ".", NULL, 0 },
		{ "/d/../", "../", NULL, 0 },
		{ "/d/f/new", NULL, NULL, ENOTDIR },
		{ "/no/new", NULL, NULL, ENOENT },
		{ "/loop/new", NULL, NULL, ELOOP },
		{ "", NULL, NULL, ENOENT },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct place p = { .dir = -1 };
		int r = resolve_place(&target, cases[i].path, &p);

		close_fd(&p.dir);
		if (r != -cases[i].error || (r == 0 && strcmp(p.last, cases[i].last) != 0) ||
			(cases[i].name && strcmp(p.path, cases[i].name) != 0))
			fail_msg("\"%s\": %s, %s", cases[i].path, strerror(-r), r ? "" : p.path);
	}
}

/* The names that make no sense are left to the calls, which must find them as bad as the kernel
 * does for a whole path; and a root is refused by all of them. */
static void bad_names_have_the_kernels_errno(void **state)
{
	static const char *const paths[] = { "/d/.", "/d/..", "/d/../", "/d/./", "/d/f/", "/abs/",
		"/dangling/", "/d/e/.." };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		char whole[PATH_MAX];
		struct place p;
		int a, b;

		snprintf(whole, sizeof(whole), "%s%s", dir_path, paths[i]);
		assert_int_equal(resolve_place(&target, paths[i], &p), 0);
#define SAME(call, other)                                                                          \
	a = (call) < 0 ? errno : 0;                                                                \
	b = (other) < 0 ? errno : 0;                                                               \
	if (a != b || !a)                                                                          \
		fail_msg("%s: %s: %s, %s", paths[i], #call, strerror(a), strerror(b));
		SAME(mkdirat(p.dir, p.last, 0700), mkdir(whole, 0700))
		SAME(unlinkat(p.dir, p.last, 0), unlink(whole))
		SAME(symlinkat("x", p.dir, p.last), symlink("x", whole))
		SAME(mknodat(p.dir, p.last, S_IFREG, 0), mknod(whole, S_IFREG, 0))
		SAME(renameat(p.dir, p.last, p.dir, "z"), renameat(-1, whole, p.dir, "z"))
#undef SAME
		close(p.dir);
	}
	for (int i = 0; i < 2; i++) {
		struct place p;

		assert_int_equal(resolve_place(&target, i ? "/" : "//", &p), 0);
		assert_int_equal(mkdirat(p.dir, p.last, 0700) < 0 ? errno : 0, EEXIST);
		assert_int_equal(unlinkat(p.dir, p.last, AT_REMOVEDIR) < 0 ? errno : 0, EBUSY);
		assert_int_equal(renameat(p.dir, p.last, p.dir, "z") < 0 ? errno : 0, EBUSY);
		close(p.dir);
	}
}

/* That of the root stands in front of it, until it is cut off. */
static void paths_are_as_long_as_they_may_be(void **state)
{
	char name[PATH_MAX];
	cleanup_fd int at = openat(dir, ".", O_PATH | O_CLOEXEC), fd = -1;
	size_t len = 0;

	(void)state;
	while (len + 202 < PROTO_FILE_PATH_MAX) {
		char part[202] = "/";
		int next;

		memset(part + 1, 'x', 200);
		assert_int_equal(mkdirat(at, part + 1, 0755), 0);
		next = openat(at, part + 1, O_PATH | O_CLOEXEC);
		close(at);
		at = next;
		len += (size_t)snprintf(deep + len, sizeof(deep) - len, "%s", part);
	}
	fd = resolve_open(&target, deep, O_PATH, 0);
	assert_true(fd >= 0);
	assert_int_equal(resolve_name(&target, fd, name), len);
	assert_string_equal(name, deep);
}

static void a_chroot_and_a_path_of_this_machine(void **state)
{
	const struct who who = { .root = dir_path };
	pid_t pid = target_begin(&who);
	struct target t, none = TARGET_NONE;
	char name[PATH_MAX];
	int fd;

	(void)state;
	target_use(&t, pid);
	fd = resolve_open(&t, "/abs/../up", O_PATH, 0);
	assert_int_equal(resolve_name(&t, fd, name), 4);
	assert_string_equal(name, "/d/f");
	assert_int_equal(resolve_name(&none, fd, name), (int)strlen(dir_path) + 4);
	close(fd);
	assert_int_equal(resolve_open(&none, "/proc/self/cwd/", O_PATH, 0), -ELOOP);
	target_close(&t);
	target_end(pid);
}

/* It has no root, and of its own what is in its /etc; it is known by the path in which it was
 * found. */
static void a_named_namespace_has_its_own_files_in_etc(void **state)
{
	static const struct {
		const char *path;
		bool own;
		const char *name;
		int error;
	} cases[] = {
		{ "/etc/hosts", true, "/etc/hosts", 0 },
		{ "/etc//hosts", true, "/etc/hosts", 0 },
		{ "/etc/link", true, "/etc/hosts", 0 },
		{ "/etc/conf.d/a", true, "/etc/conf.d/a", 0 },
		{ "/etc/conf.d/b", true, NULL, ENOENT },
		{ "/etc/passwd", false, "/etc/passwd", 0 },
		{ "/etc", false, "/etc", 0 },
		{ "/etc/", false, "/etc", 0 },
		{ "/etc/mirrord-trace-has-none", false, NULL, ENOENT },
	};
	struct target t = TARGET_NONE;

	(void)state;
	assert_int_equal(mkdirat(dir, "own", 0755) | mkdirat(dir, "own/conf.d", 0755), 0);
	dir_file("own/hosts", "", 0, 0, 0601);
	dir_file("own/conf.d/a", "", 0, 0, 0601);
	assert_int_equal(symlinkat("hosts", dir, "own/link"), 0);
	t.etc = openat(dir, "own", O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[PATH_MAX];
		cleanup_fd int fd = resolve_open(&t, cases[i].path, O_PATH, 0);
		ssize_t n = fd < 0 ? fd : resolve_name(&t, fd, name);
		struct stat found;

		if (cases[i].error ? n != -cases[i].error
				   : cases[i].name && strcmp(name, cases[i].name) != 0)
			fail_msg("\"%s\": %s", cases[i].path, n < 0 ? strerror((int)-n) : name);
		if (fd >= 0 && fstat(fd, &found) == 0)
			assert_int_equal((found.st_mode & ALLPERMS) == 0601, cases[i].own);
	}
	target_close(&t);
}

/* What is bound where, and what of it shows us. */
static const struct {
	const char *bound, *name, *path;
	bool ours;
} procs[] = {
	{ "/proc", "proc", "/proc/self/mem", true },
	{ "/proc", "proc", "/proc/thread-self/environ", true },
	{ "/proc", "proc", "/proc/self/net/tcp", false },
	{ "/proc", "proc", "/proc/1/status", false },
	{ "/proc", "proc", "/proc/version", false },
	{ "/proc", "proc", "/proc/sys/kernel/hostname", false },
	{ "/proc/self", "us", "/us/mem", true },
	{ "/proc/self", "proc/1", "/proc/1/mem", true },
	{ "/proc/self/mem", "mem", "/mem", true },
	{ "/proc/sys", "sys", "/sys/kernel/hostname", false },
	{ "/proc/version", "version", "/version", false },
	{ "/etc", "etc", "/etc/passwd", false },
};

/* In a process and a mount namespace of its own, where nothing that fails may go on to the end of
 * the other tests: they remove what is in the directory. */
static int bind_and_look(size_t i)
{
	cleanup_fd int fd = -1;
	char to[128];
	struct stat st;

	snprintf(to, sizeof(to), "%s/%s", dir_path, procs[i].name);
	if (stat(procs[i].bound, &st) < 0)
		return errno;
	if (S_ISDIR(st.st_mode))
		mkdir(to, 0755);
	else
		close(open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
	if (mount(procs[i].bound, to, NULL, MS_BIND, NULL) < 0)
		return errno;
	fd = resolve_open(&target, procs[i].path, O_PATH, 0);
	return fd < 0 ? -fd : resolve_is_ours(&target, fd) != procs[i].ours;
}

static void what_shows_the_agent_is_known(void **state)
{
	int status;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(procs); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			if (unshare(CLONE_NEWNS) < 0 ||
				mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
				_exit(255);
			/* Of this namespace. */
			target.root = open(dir_path, O_PATH | O_CLOEXEC);
			if (strcmp(procs[i].name, "proc/1") == 0)
				bind_and_look(0);
			_exit(bind_and_look(i));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		if (status)
			fail_msg("%s: %d", procs[i].path, WEXITSTATUS(status));
	}
}

static void no_client_sends_such_a_path(void **state)
{
	char longest[PROTO_FILE_PATH_MAX + 1], path[PATH_MAX];

	(void)state;
	memset(longest, '/', sizeof(longest));
	assert_true(resolve_take((struct span){ longest, PROTO_FILE_PATH_MAX }, path));
	assert_false(resolve_take((struct span){ longest, PROTO_FILE_PATH_MAX + 1 }, path));
	assert_false(resolve_take((struct span){ "/a\0b", 4 }, path));
	assert_false(resolve_take((struct span){ "a", 1 }, path));
	assert_true(resolve_take((struct span){ NULL, 0 }, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_has_one_canonical_form),
		cmocka_unit_test(what_was_removed_has_no_name),
		cmocka_unit_test(a_place_is_a_directory_and_a_name),
		cmocka_unit_test(bad_names_have_the_kernels_errno),
		cmocka_unit_test(paths_are_as_long_as_they_may_be),
		cmocka_unit_test(a_chroot_and_a_path_of_this_machine),
		cmocka_unit_test(a_named_namespace_has_its_own_files_in_etc),
		cmocka_unit_test(what_shows_the_agent_is_known),
		cmocka_unit_test(no_client_sends_such_a_path),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

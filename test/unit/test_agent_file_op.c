/* What is asked of paths, beneath a root made for it. */
#include "agent/creds.c"
#include "agent/file.c"
#include "agent/file_op.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include <sys/mount.h>
#include <sys/sysmacros.h>

#include "agent_client.h"
#include "agent_target.h"

#define AS_IS 0xffffffffu

static struct target target = TARGET_NONE;
static int result;

static void message(struct mux *m, const struct msg *msg)
{
	result = file_op(m, &target, msg);
}

static int begin(void **state)
{
	(void)state;
	client_begin(message);
	result = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	client_end();
	return 0;
}

static int set_up(void **state)
{
	int r = dir_begin(state);

	target.root = openat(dir, ".", O_PATH | O_CLOEXEC);
	return r || mkdirat(dir, "d", 0755) < 0 || mkdirat(dir, "full", 0755) < 0 ||
	       symlinkat("/d", dir, "link") < 0 || symlinkat("nowhere", dir, "dangling") < 0 ||
	       mkfifoat(dir, "fifo", 0666) < 0;
}

static int tear_down(void **state)
{
	target_close(&target);
	return dir_end(state);
}

struct asked {
	enum file_op op;
	uint32_t flags;
	uint64_t a, b;
	const char *path;
	struct span second;
};

static void ask(const struct asked *q)
{
	char text[2 * PATH_MAX];
	size_t n = strlen(q->path);
	struct msg m = {
		.type = MSG_file_op,
		.id = 5,
		.file_op = { .op = q->op,
			.flags = q->flags,
			.a = q->a,
			.b = q->b,
			.path_len = (uint16_t)n,
			.path = { text, (uint32_t)n + q->second.len } },
	};

	memcpy(text, q->path, n);
	if (q->second.len)
		memcpy(text + n, q->second.data, q->second.len);
	said[0] = said_more[0] = '\0';
	say(m);
}

#define TEXT(s)                                                                                    \
	{                                                                                          \
		s, sizeof(s) - 1                                                                   \
	}

/* Each is asked after those before it. */
static void operations_are_done_and_say_what_they_touched(void **state)
{
	static const struct {
		struct asked q;
		const char *hears, *said, *more;
	} cases[] = {
		{ { FILE_OP_STAT, 0, 0, 0, "/link", TEXT("") }, "done(0) ", "/d", "" },
		{ { FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, "/link", TEXT("") }, "done(0) ", "/link",
			"/d" },
		{ { FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, "/link/", TEXT("") }, "done(0) ", "/d", "" },
		{ { FILE_OP_STAT, 0, 0, 0, "/dangling", TEXT("") }, "done(ENOENT) ", NULL, NULL },
		{ { FILE_OP_STAT, 0, 0, 0, "", TEXT("") }, "done(ENOENT) ", NULL, NULL },
		{ { FILE_OP_ACCESS, 0, R_OK | W_OK, 0, "/d/../f", TEXT("") }, "done(0) ", "/f",
			"" },
		{ { FILE_OP_ACCESS, 0, X_OK, 0, "/f", TEXT("") }, "done(EACCES) ", NULL, NULL },
		{ { FILE_OP_ACCESS, 0, 8, 0, "/f", TEXT("") }, "done(EINVAL) ", NULL, NULL },
		{ { FILE_OP_MKDIR, 0, 0751, 0, "/link/new//", TEXT("") }, "done(0) ", "/d/new",
			"" },
		{ { FILE_OP_MKDIR, 0, 0751, 0, "/d/new", TEXT("") }, "done(EEXIST) ", NULL, NULL },
		{ { FILE_OP_MKDIR, 0, 0751, 0, "/", TEXT("") }, "done(EEXIST) ", NULL, NULL },
		{ { FILE_OP_MKDIR, 0, 0751, 0, "/f/new", TEXT("") }, "done(ENOTDIR) ", NULL, NULL },
		{ { FILE_OP_SYMLINK, 0, 0, 0, "/d/new/s", TEXT("../x y") }, "done(0) ", "/d/new/s",
			"" },
		{ { FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, "/d/new/s", TEXT("") }, "done(0) ",
			"/d/new/s", "../x y" },
		{ { FILE_OP_SYMLINK, 0, 0, 0, "/e", TEXT("") }, "done(ENOENT) ", NULL, NULL },
		{ { FILE_OP_RMDIR, 0, 0, 0, "/d/new", TEXT("") }, "done(ENOTEMPTY) ", NULL, NULL },
		{ { FILE_OP_RMDIR, 0, 0, 0, "/d/new/.", TEXT("") }, "done(EINVAL) ", NULL, NULL },
		{ { FILE_OP_RMDIR, 0, 0, 0, "/", TEXT("") }, "done(EBUSY) ", NULL, NULL },
		{ { FILE_OP_RMDIR, 0, 0, 0, "/link", TEXT("") }, "done(ENOTDIR) ", NULL, NULL },
		{ { FILE_OP_UNLINK, 0, 0, 0, "/d/new", TEXT("") }, "done(EISDIR) ", NULL, NULL },
		{ { FILE_OP_UNLINK, 0, 0, 0, "/d/new/s", TEXT("") }, "done(0) ", "/d/new/s", "" },
		{ { FILE_OP_RMDIR, 0, 0, 0, "/link/new/", TEXT("") }, "done(0) ", "/d/new", "" },
		{ { FILE_OP_MKNOD, 0, S_IFIFO | 0640, 0, "/p", TEXT("") }, "done(0) ", "/p", "" },
		{ { FILE_OP_MKNOD, 0, S_IFCHR | 0640, 0, "/c", TEXT("") }, "done(EPERM) ", NULL,
			NULL },
		{ { FILE_OP_RENAME, 0, 0, 0, "/p", TEXT("/link/q") }, "done(0) ", "/p", "/d/q" },
		{ { FILE_OP_RENAME, 0, RENAME_NOREPLACE, 0, "/d/q", TEXT("/f") }, "done(EEXIST) ",
			NULL, NULL },
		{ { FILE_OP_RENAME, 0, RENAME_EXCHANGE, 0, "/d/q", TEXT("/f") }, "done(0) ", "/d/q",
			"/f" },
		{ { FILE_OP_RENAME, 0, RENAME_EXCHANGE, 0, "/d/q", TEXT("/f") }, "done(0) ", "/d/q",
			"/f" },
		{ { FILE_OP_RENAME, 0, RENAME_WHITEOUT, 0, "/d/q", TEXT("/x") }, "done(EINVAL) ",
			NULL, NULL },
		{ { FILE_OP_RENAME, 0, 0, 0, "/d", TEXT("/d/e") }, "done(EINVAL) ", NULL, NULL },
		{ { FILE_OP_RENAME, 0, 0, 0, "/d/q", TEXT("/") }, "done(EBUSY) ", NULL, NULL },
		{ { FILE_OP_LINK, FILE_NOFOLLOW, 0, 0, "/f", TEXT("/link/f2") }, "done(0) ", "/f",
			"/d/f2" },
		{ { FILE_OP_LINK, FILE_NOFOLLOW, 0, 0, "/dangling", TEXT("/dl") }, "done(0) ",
			"/dangling", "/dl" },
		{ { FILE_OP_LINK, 0, 0, 0, "/dangling", TEXT("/dl2") }, "done(ENOENT) ", NULL,
			NULL },
		{ { FILE_OP_LINK, FILE_NOFOLLOW, 0, 0, "/d", TEXT("/dd") }, "done(EPERM) ", NULL,
			NULL },
		{ { FILE_OP_CHMOD, 0, 0604, 0, "/f", TEXT("") }, "done(0) ", "/f", "" },
		{ { FILE_OP_CHMOD, FILE_NOFOLLOW, 0604, 0, "/link", TEXT("") }, "done(EOPNOTSUPP) ",
			NULL, NULL },
		{ { FILE_OP_CHOWN, 0, 12, AS_IS, "/f", TEXT("") }, "done(0) ", "/f", "" },
		{ { FILE_OP_CHOWN, FILE_NOFOLLOW, 12, 13, "/link", TEXT("") }, "done(0) ", "/link",
			"" },
		{ { FILE_OP_TRUNCATE, 0, 3, 0, "/f", TEXT("") }, "done(0) ", "/f", "" },
		{ { FILE_OP_TRUNCATE, 0, 3, 0, "/d", TEXT("") }, "done(EISDIR) ", NULL, NULL },
		{ { FILE_OP_TRUNCATE, 0, 3, 0, "/fifo", TEXT("") }, "done(EINVAL) ", NULL, NULL },
		{ { FILE_OP_UTIMENS, 0, 1500000000, (uint64_t)-1500000000, "/f", TEXT("") },
			"done(0) ", "/f", "" },
		{ { FILE_OP_SETXATTR, 0, 0, 0, "/f", TEXT("user.a\0v\0w") }, "done(0) ", "/f", "" },
		{ { FILE_OP_GETXATTR, 0, 0, 0, "/f", TEXT("user.a") }, "done(0) ", "/f", "v\0w" },
		{ { FILE_OP_GETXATTR, 0, 0, 0, "/f", TEXT("user.b") }, "done(ENODATA) ", NULL,
			NULL },
		{ { FILE_OP_GETXATTR, 0, 0, 0, "/f", TEXT("") }, "done(ERANGE) ", NULL, NULL },
		{ { FILE_OP_SETXATTR, 0, 1, 0, "/f", TEXT("user.a\0v") }, "done(EEXIST) ", NULL,
			NULL },
		{ { FILE_OP_LISTXATTR, 0, 0, 0, "/f", TEXT("") }, "done(0) ", "/f", "user.a" },
		{ { FILE_OP_REMOVEXATTR, 0, 0, 0, "/f", TEXT("user.a") }, "done(0) ", "/f", "" },
		{ { FILE_OP_REMOVEXATTR, 0, 0, 0, "/f", TEXT("user.a") }, "done(ENODATA) ", NULL,
			NULL },
		{ { FILE_OP_STATFS, 0, 0, 0, "/f", TEXT("") }, "done(0) ", "/f", NULL },
	};

	(void)state;
	dir_file("f", "hello", 0, 0, 0644);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		ask(&cases[i].q);
		for (int j = 0; j < 1000 && !strchr(hear(), ')'); j++)
			unit_run(&loop, 1);
		if (strcmp(heard, cases[i].hears) != 0 ||
			(cases[i].said && strcmp(said, cases[i].said) != 0) ||
			(cases[i].more && strcmp(said_more, cases[i].more) != 0))
			fail_msg("case %zu: heard %s, %s, %s", i, heard, said, said_more);
		heard[0] = '\0';
	}
	assert_int_equal(said_more_len, 11 * 8);
}

static const struct file_attr *attr(void)
{
	await("done(0) ");
	return &last[MSG_file_done].file_done.attr;
}

static void answers_have_the_attributes_of_afterwards(void **state)
{
	struct stat st;

	(void)state;
	dir_file("a", "hello", 7, 8, 0644);
	ask(&(struct asked){ FILE_OP_CHMOD, 0, 04604, 0, "/a", { 0 } });
	assert_int_equal(attr()->mode, S_IFREG | 04604);
	ask(&(struct asked){ FILE_OP_CHOWN, 0, AS_IS, 12, "/a", { 0 } });
	assert_int_equal(attr()->gid, 12);
	assert_int_equal(last[MSG_file_done].file_done.attr.uid, 7);
	ask(&(struct asked){ FILE_OP_TRUNCATE, 0, 3, 0, "/a", { 0 } });
	assert_int_equal(attr()->size, 3);
	ask(&(struct asked){ FILE_OP_UTIMENS, 0, (uint64_t)-1, 1500000001, "/a", { 0 } });
	assert_int_equal(attr()->atime, -1);
	assert_int_equal(last[MSG_file_done].file_done.attr.mtime, 1500000001);
	assert_int_equal(fstatat(dir, "a", &st, 0), 0);
	assert_int_equal(st.st_atim.tv_sec, -1);
	assert_int_equal(st.st_atim.tv_nsec, 999999999);
	ask(&(struct asked){ FILE_OP_UTIMENS, 0, FILE_TIME_OMIT, FILE_TIME_NOW, "/a", { 0 } });
	assert_int_equal(attr()->atime, -1);
	assert_true(last[MSG_file_done].file_done.attr.mtime > 1500000001);
	ask(&(struct asked){ FILE_OP_LINK, 0, 0, 0, "/a", TEXT("/a2") });
	assert_int_equal(attr()->nlink, 2);
	ask(&(struct asked){ FILE_OP_UNLINK, 0, 0, 0, "/a2", { 0 } });
	assert_int_equal(attr()->mode, 0);
	ask(&(struct asked){ FILE_OP_UTIMENS, FILE_NOFOLLOW, 5, 6, "/link", { 0 } });
	assert_int_equal(attr()->mtime, 6);
}

static void answers_say_whether_there_are_attributes(void **state)
{
	(void)state;
	dir_file("without", "x", 0, 0, 0644);
	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/without", { 0 } });
	assert_int_equal(attr()->flags, FILE_NO_XATTRS);
	ask(&(struct asked){ FILE_OP_SETXATTR, 0, 0, 0, "/without", TEXT("trusted.a\0v") });
	assert_int_equal(attr()->flags, 0);
	ask(&(struct asked){ FILE_OP_STAT, FILE_NOFOLLOW, 0, 0, "/link", { 0 } });
	assert_int_equal(attr()->flags, FILE_NO_XATTRS);
}

/* A value that does not fit beside its path is too big; it is not as if it were none. */
static void the_longest_value(void **state)
{
	static char big[PROTO_DATA_MAX];
	char place[80], path[100];

	(void)state;
	snprintf(place, sizeof(place), "%s/full", dir_path);
	assert_int_equal(mount("none", place, "tmpfs", 0, NULL), 0);
	dir_file("full/f", "x", 0, 0, 0644);
	snprintf(path, sizeof(path), "%s/f", place);
	assert_int_equal(setxattr(path, "trusted.big", big, sizeof(big), 0), 0);
	ask(&(struct asked){ FILE_OP_GETXATTR, 0, 0, 0, "/full/f", TEXT("trusted.big") });
	await("done(E2BIG) ");
	assert_int_equal(mount("none", place, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0755, 0, "/full/d", { 0 } });
	await("done(EROFS) ");
	ask(&(struct asked){ FILE_OP_ACCESS, 0, W_OK, 0, "/full/f", { 0 } });
	await("done(EROFS) ");
	ask(&(struct asked){ FILE_OP_RENAME, 0, 0, 0, "/f", TEXT("/full/f") });
	await("done(EXDEV) ");
	assert_int_equal(umount(place), 0);
}

static void what_no_client_sends_is_refused(void **state)
{
	static const struct asked cases[] = {
		{ 0, 0, 0, 0, "/f", TEXT("") },
		{ FILE_OP_MAX, 0, 0, 0, "/f", TEXT("") },
		{ 255, 0, 0, 0, "/f", TEXT("") },
		{ FILE_OP_STAT, FILE_READ, 0, 0, "/f", TEXT("") },
		{ FILE_OP_STAT, 0, 0, 0, "f", TEXT("") },
		{ FILE_OP_STAT, 0, 0, 0, "/f", TEXT("more") },
		{ FILE_OP_RENAME, 0, 0, 0, "/f", TEXT("relative") },
		{ FILE_OP_RENAME, 0, 0, 0, "/f", TEXT("/a\0b") },
		{ FILE_OP_SYMLINK, 0, 0, 0, "/f", TEXT("a\0b") },
		{ FILE_OP_SETXATTR, 0, 0, 0, "/f", TEXT("no end") },
		{ FILE_OP_SETXATTR, 0, 0, 0, "/f", TEXT("") },
	};
	struct msg m = { .type = MSG_file_op, .file_op = { .op = FILE_OP_STAT, .path_len = 9 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		result = 0;
		ask(&cases[i]);
		unit_run(&loop, 1);
		if (result != -EPROTO)
			fail_msg("case %zu", i);
	}
	result = 0;
	say(m);
	unit_run(&loop, 1);
	assert_int_equal(result, -EPROTO);
}

static void use_as_user(void)
{
	ask(&(struct asked){ FILE_OP_ACCESS, 0, R_OK, 0, "/roots", { 0 } });
	await("done(EACCES) ");
	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/closed/f", { 0 } });
	await("done(EACCES) ");
	ask(&(struct asked){ FILE_OP_CHMOD, 0, 0777, 0, "/roots", { 0 } });
	await("done(EPERM) ");
	ask(&(struct asked){ FILE_OP_CHOWN, 0, 1234, AS_IS, "/roots", { 0 } });
	await("done(EPERM) ");
	ask(&(struct asked){ FILE_OP_UNLINK, 0, 0, 0, "/public/roots", { 0 } });
	await("done(EPERM) "); /* sticky */
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0700, 0, "/public/d", { 0 } });
	assert_int_equal(attr()->uid, 1234);
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0700, 0, "/d2", { 0 } });
	await("done(EACCES) ");
	ask(&(struct asked){ FILE_OP_SETXATTR, 0, 0, 0, "/public/d", TEXT("trusted.x\0y") });
	await("done(EPERM) ");
}

static void use_as_root_of_a_namespace(void)
{
	static const char *const unreachable[] = { "/closed/f", "/closed/none", "/closed/link",
		"/into-closed", "/closed/../inside", "/insides/../closed/f" };

	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/inside", { 0 } });
	assert_int_equal(attr()->uid, 7);
	ask(&(struct asked){ FILE_OP_CHOWN, 0, 9, AS_IS, "/inside", { 0 } });
	assert_int_equal(attr()->uid, 9);
	ask(&(struct asked){ FILE_OP_CHOWN, 0, 65536, AS_IS, "/inside", { 0 } });
	await("done(EINVAL) ");
	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/roots", { 0 } });
	assert_int_equal(attr()->uid, 65534);
	ask(&(struct asked){ FILE_OP_CHMOD, 0, 0666, 0, "/roots", { 0 } });
	await("done(EPERM) ");
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0700, 0, "/insides/d", { 0 } });
	assert_int_equal(attr()->uid, 0);
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0700, 0, "/closed/d", { 0 } });
	await("done(EACCES) ");
	/* It may search the directories of its own users, and of others' only those that all may.
	 */
	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/insides/d", { 0 } });
	await("done(0) ");
	ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, "/insides/none", { 0 } });
	await("done(ENOENT) ");
	ask(&(struct asked){ FILE_OP_MKDIR, 0, 0700, 0, "/insides/d/e", { 0 } });
	await("done(0) ");
	for (size_t i = 0; i < ARRAY_SIZE(unreachable); i++) {
		ask(&(struct asked){ FILE_OP_STAT, 0, 0, 0, unreachable[i], { 0 } });
		await("done(EACCES) ");
	}
}

/* A process in a chroot(2) makes no user namespace, so the root is given to it here. */
static void as_target(const struct who *w, void (*use)(void))
{
	pid_t who = target_begin(w), pid = fork();
	int status;

	if (pid == 0) {
		target_close(&target);
		target_use(&target, who);
		close_fd(&target.root);
		target.root = openat(dir, ".", O_PATH | O_CLOEXEC);
		begin(NULL);
		use();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	target_end(who);
	assert_int_equal(status, 0);
}

static void the_rights_are_the_targets(void **state)
{
	static const struct who user = { .uid = 1234, .gid = 1235 },
				root = { .map = "0 100000 65536" };

	(void)state;
	dir_file("roots", "", 0, 0, 0600);
	mkdirat(dir, "public", 01777);
	mkdirat(dir, "closed", 0700);
	dir_file("closed/f", "", 0, 0, 0666);
	dir_file("public/roots", "", 0, 0, 0666);
	as_target(&user, use_as_user);
	assert_int_equal(symlinkat("/inside", dir, "closed/link"), 0);
	assert_int_equal(symlinkat("/closed/f", dir, "into-closed"), 0);
	dir_file("inside", "", 100007, 100007, 0600);
	mkdirat(dir, "insides", 0700);
	fchownat(dir, "insides", 100007, 100007, 0);
	as_target(&root, use_as_root_of_a_namespace);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			operations_are_done_and_say_what_they_touched, begin, end),
		cmocka_unit_test_setup_teardown(
			answers_say_whether_there_are_attributes, begin, end),
		cmocka_unit_test_setup_teardown(
			answers_have_the_attributes_of_afterwards, begin, end),
		cmocka_unit_test_setup_teardown(the_longest_value, begin, end),
		cmocka_unit_test_setup_teardown(what_no_client_sends_is_refused, begin, end),
		cmocka_unit_test(the_rights_are_the_targets),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Files are used as the target's process would use them. */
#include "agent/creds.c"
#include "agent/target.c"

#include "agent_target.h"

#define USER  1234u
#define GROUP 4242u

/* In a process of its own: open the file as the target, then as ourselves. */
static int try_open(const struct who *w, const char *name, int flags)
{
	pid_t target = target_begin(w), pid;
	int status;

	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct target t;
		int r;

		target_use(&t, target);
		if (creds_enter(&t.creds) < 0)
			_exit(255);
		creds_act_on(&t.creds, openat(dir, name, O_PATH | O_CLOEXEC));
		r = openat(dir, name, flags | O_CLOEXEC, 0644) < 0 ? errno : 0;
		creds_leave(&t.creds);
		if (openat(dir, "roots", O_RDWR | O_CLOEXEC) < 0 ||
			openat(dir, "users", O_RDWR | O_CLOEXEC) < 0 ||
			t.creds.own_effective != t.creds.own_permitted)
			r = 254;
		target_close(&t);
		_exit(r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	target_end(target);
	return WEXITSTATUS(status);
}

static void rights_are_those_of_the_process(void **state)
{
	static const struct {
		struct who who;
		const char *file;
		int flags, error;
	} cases[] = {
		{ { 0 }, "roots", O_RDWR, 0 },
		{ { 0 }, "users", O_RDWR, 0 },
		{ { .without_caps = true }, "roots", O_RDWR, 0 },
		{ { .without_caps = true }, "users", O_RDONLY, EACCES },
		{ { .uid = USER, .gid = USER }, "roots", O_RDONLY, EACCES },
		{ { .uid = USER, .gid = USER }, "users", O_RDWR, 0 },
		{ { .uid = USER, .gid = USER }, "groups", O_RDONLY, EACCES },
		{ { .uid = USER, .gid = GROUP }, "groups", O_RDONLY, 0 },
		{ { .uid = USER, .gid = USER, .group = GROUP }, "groups", O_RDONLY, 0 },
		{ { .uid = USER, .gid = USER, .group = GROUP }, "groups", O_WRONLY, EACCES },
		/* There the kernel asks for the effective user, not that of the file system. */
		{ { .uid = USER, .gid = USER }, "/proc/sys/kernel/core_pattern", O_WRONLY, EACCES },
		{ { .user_namespace = true }, "roots", O_RDWR, 0 },
		{ { .user_namespace = true }, "users", O_RDONLY, EACCES },
		{ { .uid = USER, .gid = USER, .user_namespace = true }, "users", O_RDWR, 0 },
		/* Root of a namespace, of what its own users have and of what others have. */
		{ { .map = "0 100000 65536" }, "inside", O_RDWR, 0 },
		{ { .map = "0 100000 65536" }, "users", O_RDONLY, EACCES },
		{ { .map = "0 100000 65536" }, "roots", O_RDONLY, EACCES },
		{ { .map = "0 100000 65536" }, "half", O_RDONLY, EACCES },
	};

	(void)state;
	dir_file("roots", "", 0, 0, 0600);
	dir_file("users", "", USER, USER, 0600);
	dir_file("groups", "", 0, GROUP, 0640);
	dir_file("inside", "", 100007, 100008, 0600);
	dir_file("half", "", 100007, USER, 0600);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int error = try_open(&cases[i].who, cases[i].file, cases[i].flags);

		if (error != cases[i].error)
			fail_msg("case %zu: %s", i, strerror(error));
	}
}

static void what_is_created_belongs_to_the_process(void **state)
{
	static const struct who user = { .uid = USER, .gid = GROUP };
	struct stat st;

	(void)state;
	assert_int_equal(fchmodat(dir, ".", 0777, 0), 0);
	assert_int_equal(try_open(&user, "new", O_CREAT | O_EXCL | O_RDWR), 0);
	assert_int_equal(fstatat(dir, "new", &st, 0), 0);
	assert_int_equal(st.st_uid, USER);
	assert_int_equal(st.st_gid, GROUP);
}

static void a_line_of_status_is_parsed_or_refused(void **state)
{
	static const struct {
		const char *line;
		int result;
	} cases[] = {
		{ "Uid:\t1\t2\t3\t4\n", 1 },
		{ "Uid:\t1\t2\t3\n", -EPROTO },
		{ "Gid:\n", -EPROTO },
		{ "Groups:\t\n", 1 },
		{ "Groups:\t7 8 \n", 1 },
		{ "CapEff:\t\n", -EPROTO },
		{ "CapEff:\t000001ffffffffff\n", 1 },
		{ "CapPrm:\t0\n", 0 },
		{ "", 0 },
	};
	struct creds c = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(parse_line(&c, cases[i].line), cases[i].result);
	assert_int_equal(c.uid, 4);
	assert_int_equal(c.ngroups, 2);
	assert_int_equal(c.groups[1], 8);
	assert_true(c.effective == 0x1ffffffffff);
	creds_done(&c);
}

static void ids_are_those_of_the_namespace(void **state)
{
	static const struct who who = { .map = "0 100000 65536\n70000 5 1\n" };
	struct target t;
	char spec[32];
	pid_t pid = target_begin(&who);
	uid_t uid;
	gid_t gid;

	(void)state;
	snprintf(spec, sizeof(spec), "pid:%d", pid);
	assert_int_equal(target_find(&t, spec, NULL), 0);
	assert_int_equal(t.creds.uid, 100000);
	assert_int_equal(creds_uid_inside(&t.creds, 100000), 0);
	assert_int_equal(creds_uid_inside(&t.creds, 165535), 65535);
	assert_int_equal(creds_uid_inside(&t.creds, 165536), OVERFLOW_ID);
	assert_int_equal(creds_uid_inside(&t.creds, 99999), OVERFLOW_ID);
	assert_int_equal(creds_gid_inside(&t.creds, 5), 70000);
	assert_int_equal(creds_gid_inside(&t.creds, 0), OVERFLOW_ID);
	assert_true(creds_uid_outside(&t.creds, 7, &uid));
	assert_int_equal(uid, 100007);
	assert_true(creds_gid_outside(&t.creds, UINT32_MAX, &gid));
	assert_int_equal(gid, UINT32_MAX);
	assert_false(creds_uid_outside(&t.creds, 65536, &uid));
	assert_false(creds_uid_outside(&t.creds, UINT64_MAX, &uid));
	target_close(&t);
	assert_true(creds_uid_outside(&t.creds, 65536, &uid)); /* no map: as it is */
	assert_int_equal(uid, 65536);
	assert_false(creds_uid_outside(&t.creds, 1ull << 32, &uid));
	target_end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights_are_those_of_the_process),
		cmocka_unit_test(what_is_created_belongs_to_the_process),
		cmocka_unit_test(ids_are_those_of_the_namespace),
		cmocka_unit_test(a_line_of_status_is_parsed_or_refused),
	};

	return cmocka_run_group_tests(tests, dir_begin, dir_end);
}

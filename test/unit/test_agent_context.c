/* What is said of the target itself. */
#include "agent/context.c"
#include "agent/creds.c"
#include "agent/target.c"

#include <sys/utsname.h>

#include "agent_client.h"
#include "agent_target.h"

static struct target target = TARGET_NONE;

static void message(struct mux *m, const struct msg *msg)
{
	if (msg->type == MSG_context_get)
		context_send(m, &target, msg->id);
	else
		environ_send(m, &target, msg->id);
}

static void mount_points_are_the_targets_own(void **state)
{
	static const char lines[] =
		"22 1 8:1 / / rw - ext4 /dev/sda rw\n"
		"23 22 0:20 / /proc rw - proc proc rw\n"
		"24 23 0:20 / /proc/sys/fs rw - x x rw\n"
		"25 22 0:20 / /process rw - x x rw\n"
		"26 22 0:20 / /var/run/secrets/a\\040b\\134\\011 ro - tmpfs tmpfs rw\n"
		"27 22 0:20 / /var rw - x x rw\n"
		"28 22 0:20 / /var/lib rw - x x rw\n"
		"29 22 0:20 / /dev/shm rw - x x rw\n"
		"30 22 0:20 / /etc/hosts rw - x x rw\n"
		"31 22 0:20 / /etc rw - x x rw\n"
		"32 22 0:20 net:[1] /run/netns/x rw - nsfs nsfs rw\n"
		"33 22\n"
		"\n";
	static const char expected[] = "/process\0/var/run/secrets/a b\\\t\0/var/lib\0/etc/hosts\0"
				       "/run/netns/x";
	FILE *f = fmemopen((void *)lines, sizeof(lines) - 1, "r");
	struct buf b;

	(void)state;
	buf_init(&b, PROTO_DATA_MAX);
	put_mounts(&b, f);
	assert_int_equal(buf_len(&b), sizeof(expected));
	assert_memory_equal(buf_head(&b), expected, sizeof(expected));
	buf_done(&b);
	fclose(f);
}

/* What does not fit is left out, whole. */
static void mount_points_are_cut(void **state)
{
	static const char line[] = "1 2 3:4 / /srv/a-mount rw - x x rw\n";
	char lines[100 * sizeof(line)] = "";
	struct buf b;
	FILE *f;

	(void)state;
	for (int i = 0; i < 100; i++)
		strcat(lines, line);
	f = fmemopen(lines, strlen(lines), "r");
	buf_init(&b, 100);
	put_mounts(&b, f);
	assert_int_equal(buf_len(&b), 100 / sizeof("/srv/a-mount") * sizeof("/srv/a-mount"));
	buf_done(&b);
	fclose(f);
}

static void names_and_ids_are_the_targets(void **state)
{
	static const struct who who = { .uid = 77, .gid = 78, .hostname = "a-pod-0" };
	pid_t pid = target_begin(&who);
	struct utsname before, after;
	char spec[32];

	(void)state;
	uname(&before);
	snprintf(spec, sizeof(spec), "pid:%d", pid);
	assert_int_equal(target_find(&target, spec, NULL), 0);
	client_begin(message);
	for (int i = 0; i < 2; i++) {
		say((struct msg){ .type = MSG_context_get });
		await("context(a-pod-0) ");
		assert_int_equal(last[MSG_context].context.uid, 77);
		assert_int_equal(last[MSG_context].context.gid, 78);
		assert_int_equal(last[MSG_context].context.has_files, 1);
	}
	uname(&after);
	assert_string_equal(before.nodename, after.nodename);
	target_end(pid);
	/* The process is gone, and its number may be another's. */
	say((struct msg){ .type = MSG_environ_get });
	await("environ(ESRCH,0) ");
	client_end();
	target_close(&target);
}

static void a_namespace_has_no_more_than_we(void **state)
{
	struct utsname ours;
	char expected[100];

	(void)state;
	uname(&ours);
	snprintf(expected, sizeof(expected), "context(%s) ", ours.nodename);
	client_begin(message);
	say((struct msg){ .type = MSG_context_get });
	await(expected);
	assert_int_equal(last[MSG_context].context.has_files, 0);
	assert_int_equal(last[MSG_context].context.mounts.len, 0);
	say((struct msg){ .type = MSG_environ_get });
	await("environ(0,0) ");
	assert_int_equal(nbytes, 0);
	client_end();
}

/* A program with this environment, which waits. */
static pid_t run_with(char **environment)
{
	static char *argv[] = { "sleep", "1000", NULL };
	int run[2];
	char c;
	pid_t pid;

	assert_int_equal(pipe2(run, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execve("/bin/sleep", argv, environment);
		_exit(1);
	}
	close(run[1]);
	assert_int_equal(read(run[0], &c, 1), 0); /* closed by execve */
	close(run[0]);
	return pid;
}

static void an_environment_comes_in_parts(void **state)
{
	static char long_one[100000] = "LONG=";
	char *environment[] = { "A=1", "EMPTY=", "\377=\001\n", long_one, NULL };
	pid_t pid;
	char spec[32];

	(void)state;
	memset(long_one + 5, 'x', sizeof(long_one) - 6);
	pid = run_with(environment);
	snprintf(spec, sizeof(spec), "pid:%d", pid);
	assert_int_equal(target_find(&target, spec, NULL), 0);
	client_begin(message);
	say((struct msg){ .type = MSG_environ_get });
	await("environ(0,1) environ(0,0) ");
	assert_int_equal(nbytes, 4 + 7 + 5 + sizeof(long_one));
	assert_memory_equal(bytes, "A=1\0EMPTY=\0\377=\001\n\0LONG=xxx", 23);
	client_end();
	target_close(&target);
	target_end(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mount_points_are_the_targets_own),
		cmocka_unit_test(mount_points_are_cut),
		cmocka_unit_test(names_and_ids_are_the_targets),
		cmocka_unit_test(a_namespace_has_no_more_than_we),
		cmocka_unit_test(an_environment_comes_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

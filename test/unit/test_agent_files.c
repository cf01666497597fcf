/* What a client may read of the target, beneath a root made for it. */
#include "agent/creds.c"
#include "agent/files.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include <sys/inotify.h>
#include <sys/stat.h>

#include "unit.h"

static struct target target;
static char root[] = "/tmp/mirrord-trace-files-XXXXXX";
static uint8_t content[PROTO_DATA_MAX];

static void write_file(const char *path, size_t n)
{
	cleanup_fd int fd = openat(target.root, path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)n), 0);
}

static int set_up(void **state)
{
	(void)state;
	target = (struct target)TARGET_NONE;
	if (!mkdtemp(root))
		return -1;
	target.root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return mkdirat(target.root, "etc", 0700) < 0 || mkdirat(target.root, "run", 0700) < 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	target_close(&target);
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

static void the_table_of_paths_is_all_there_is(void **state)
{
	static const struct {
		const char *path;
		int result;
	} cases[] = {
		{ "/etc/hosts", 5 },
		{ "/etc/resolv.conf", 7 }, /* by a symbolic link out of /etc */
		{ "/etc/hostname", PROTO_DATA_MAX },
		{ "/etc/nsswitch.conf", -EFBIG },
		{ "/etc/host.conf",
			-ENOENT }, /* a symbolic link that leads nowhere beneath the root */
		{ "/etc/passwd", -EACCES },
		{ "/etc/../etc/hosts", -EACCES },
		{ "etc/hosts", -EACCES },
		{ "/etc/hosts/", -EACCES },
		{ "/etc/host", -EACCES },
		{ "", -EACCES },
	};

	(void)state;
	write_file("etc/hosts", 5);
	write_file("etc/passwd", 5);
	write_file("run/resolv.conf", 7);
	write_file("etc/hostname", PROTO_DATA_MAX);
	write_file("etc/nsswitch.conf", PROTO_DATA_MAX + 1);
	assert_int_equal(symlinkat("/run/resolv.conf", target.root, "etc/resolv.conf"), 0);
	assert_int_equal(symlinkat("../../../../proc/version", target.root, "etc/host.conf"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r = files_read(&target, span_of(cases[i].path), content);

		if (r != cases[i].result)
			fail_msg("\"%s\": %d", cases[i].path, r);
	}
}

/* It is not even opened: that alone does something to a device, or to who waits at a fifo. */
static void what_is_no_file_is_refused(void **state)
{
	cleanup_fd int opens = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct inotify_event event;
	char path[64];

	(void)state;
	unlinkat(target.root, "etc/hosts", 0);
	assert_int_equal(mkfifoat(target.root, "etc/hosts", 0600), 0);
	snprintf(path, sizeof(path), "%s/etc/hosts", root);
	assert_true(inotify_add_watch(opens, path, IN_OPEN) >= 0);
	assert_int_equal(files_read(&target, span_of("/etc/hosts"), content), -EACCES);
	assert_int_equal(read(opens, &event, sizeof(event)), -1);
	assert_int_equal(unlinkat(target.root, "etc/hosts", 0), 0);
	assert_int_equal(mkdirat(target.root, "etc/hosts", 0700), 0);
	assert_int_equal(files_read(&target, span_of("/etc/hosts"), content), -EACCES);
	assert_int_equal(unlinkat(target.root, "etc/hosts", AT_REMOVEDIR), 0);
}

/* A namespace has no root; its own files stand before this machine's. */
static void a_named_namespace_has_its_own_files_first(void **state)
{
	const struct target plain = TARGET_NONE;
	struct target t = plain;

	(void)state;
	write_file("etc/hosts", 3);
	t.etc = openat(target.root, "etc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(files_read(&t, span_of("/etc/hosts"), content), 3);
	unlinkat(target.root, "etc/hosts", 0);
	assert_int_equal(files_read(&t, span_of("/etc/hosts"), content),
		files_read(&plain, span_of("/etc/hosts"), content));
	target_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_of_paths_is_all_there_is),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(a_named_namespace_has_its_own_files_first),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

/* Changes of files, told as they happen. */
#include "agent/creds.c"
#include "agent/file.c"
#include "agent/resolve.c"
#include "agent/target.c"
#include "agent/watch.c"

#include "agent_client.h"
#include "agent_target.h"

static struct target target = TARGET_NONE;
static struct watches watches;
static int result;

static void message(__attribute__((unused)) struct mux *m, const struct msg *msg)
{
	result = watch_message(&watches, msg);
}

static int begin(void **state)
{
	(void)state;
	client_begin(message);
	watches_init(&watches, &loop, &mux, &target);
	dir_file("f", "hello", 0, 0, 0644);
	result = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	watches_done(&watches);
	client_end();
	return 0;
}

static int set_up(void **state)
{
	int r = dir_begin(state);

	target.root = openat(dir, ".", O_PATH | O_CLOEXEC);
	return r || mkdirat(dir, "d", 0755) < 0 || symlinkat("f", dir, "link") < 0;
}

static int tear_down(void **state)
{
	target_close(&target);
	return dir_end(state);
}

static void watch_since(uint32_t id, const char *path, int64_t ctime)
{
	say((struct msg){
		.type = MSG_file_watch,
		.id = id,
		.file_watch = { .ctime = (uint64_t)ctime, .path = span_of(path) },
	});
}

static void watch_it(uint32_t id, const char *path)
{
	watch_since(id, path, 0);
}

static void write_to(const char *name)
{
	cleanup_fd int fd = openat(dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "x", 1), 1);
}

static void changes_of_a_file_are_told(void **state)
{
	(void)state;
	watch_it(1, "/link");
	await("changed(1,0,0,) ");
	write_to("f");
	write_to("f");
	await("changed(1,0,1,) ");
	assert_int_equal(fchmodat(dir, "f", 0600, 0), 0);
	await("changed(1,0,2,) ");
	assert_int_equal(unlinkat(dir, "f", 0), 0);
	await("changed(1,0,a,) "); /* the number of links; and it is gone */
	assert_int_equal(watches.by_id.count, 0);
	write_to("f");
	unit_run(&loop, 2);
	await("");
}

static void what_was_before_is_told(void **state)
{
	struct stat st;
	int64_t then;

	(void)state;
	write_to("f");
	assert_int_equal(fstatat(dir, "f", &st, 0), 0);
	then = timespec_to_ns(st.st_ctim);
	watch_since(1, "/f", then);
	watch_since(2, "/f", then - 1);
	await("changed(1,0,0,) changed(2,0,0,) changed(2,0,1,) ");
	write_to("f");
	await("changed(2,0,1,) changed(1,0,1,) ");
}

static void changes_in_a_directory_have_a_name_if_they_have_one(void **state)
{
	(void)state;
	watch_it(1, "/d");
	await("changed(1,0,0,) ");
	assert_int_equal(mknodat(dir, "d/new", S_IFREG | 0600, 0), 0);
	await("changed(1,0,4,new) ");
	assert_int_equal(mknodat(dir, "d/a", S_IFREG | 0600, 0), 0);
	assert_int_equal(mknodat(dir, "d/b", S_IFREG | 0600, 0), 0);
	assert_int_equal(mknodat(dir, "d/a2", S_IFREG | 0600, 0), 0);
	await("changed(1,0,4,) ");
	assert_int_equal(fchmodat(dir, ".", 0755, 0), 0);
	assert_int_equal(renameat(dir, "d", dir, "d2"), 0);
	await("changed(1,0,8,) ");
	assert_int_equal(renameat(dir, "d2", dir, "d"), 0);
}

static void one_file_may_be_watched_twice(void **state)
{
	(void)state;
	watch_it(1, "/f");
	watch_it(2, "/link");
	await("changed(1,0,0,) changed(2,0,0,) ");
	write_to("f");
	await("changed(2,0,1,) changed(1,0,1,) ");
	say((struct msg){ .type = MSG_file_unwatch, .id = 1 });
	say((struct msg){ .type = MSG_file_unwatch, .id = 99 });
	unit_run(&loop, 1);
	write_to("f");
	await("changed(2,0,1,) ");
	say((struct msg){ .type = MSG_file_unwatch, .id = 2 });
	unit_run(&loop, 1);
	write_to("f");
	unit_run(&loop, 2);
	await("");
	watch_it(1, "/f");
	await("changed(1,0,0,) ");
	write_to("f");
	await("changed(1,0,1,) ");
}

static void what_cannot_be_watched_is_answered(void **state)
{
	(void)state;
	watch_it(1, "/no");
	await("changed(1,ENOENT,0,) ");
	watch_it(1, "/f");
	await("changed(1,0,0,) ");
	watch_it(1, "/f");
	unit_run(&loop, 1);
	assert_int_equal(result, -EPROTO);
	watch_it(2, "f");
	unit_run(&loop, 1);
	assert_int_equal(result, -EPROTO);
}

static void watches_are_bounded(void **state)
{
	(void)state;
	for (uint32_t i = 1; i <= WATCHES_MAX + 1; i++) {
		heard[0] = '\0';
		watch_it(i, "/f");
		unit_run(&loop, 0);
		hear();
	}
	assert_string_equal(heard, "changed(8193,ENOSPC,0,) ");
	assert_int_equal(watches.by_id.count, WATCHES_MAX);
}

/* More than the kernel keeps happens in one turn. */
static void an_overflow_is_told_to_all(void **state)
{
	(void)state;
	watch_it(1, "/d");
	watch_it(2, "/f");
	await("changed(1,0,0,) changed(2,0,0,) ");
	for (int i = 0; i < 20000; i++) {
		fchmodat(dir, "d", i & 1 ? 0700 : 0755, 0);
		fchmodat(dir, "f", 0600, 0);
	}
	run_until(&loop, strstr(hear(), "changed(1,0,12,)") || strstr(heard, "changed(1,0,10,)"));
	run_until(&loop, strstr(hear(), "changed(2,0,12,)") || strstr(heard, "changed(2,0,10,)"));
}

/* While the link is full nothing is queued for it; later all is told once. */
static void a_full_link_holds_back_news_and_loses_none(void **state)
{
	static const uint8_t filler[PROTO_DATA_MAX];
	struct msg m = { .type = MSG_environ, .environ.bytes = { filler, sizeof(filler) } };
	size_t full;

	(void)state;
	watch_it(1, "/f");
	await("changed(1,0,0,) ");
	while (buf_len(&mux.out) < 2 * MUX_OUT_HIGH)
		mux_send(&mux, &m);
	unit_run(&loop, 1);
	full = buf_len(&mux.out);
	assert_true(full >= MUX_OUT_HIGH);
	for (int i = 0; i < 10; i++) {
		write_to("f");
		unit_run(&loop, 5);
	}
	assert_int_equal(buf_len(&mux.out), full);
	while (!strstr(hear(), "changed(1,0,1,) ")) {
		nbytes = 0;
		heard[0] = '\0';
		unit_run(&loop, 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_of_a_file_are_told, begin, end),
		cmocka_unit_test_setup_teardown(what_was_before_is_told, begin, end),
		cmocka_unit_test_setup_teardown(
			changes_in_a_directory_have_a_name_if_they_have_one, begin, end),
		cmocka_unit_test_setup_teardown(one_file_may_be_watched_twice, begin, end),
		cmocka_unit_test_setup_teardown(what_cannot_be_watched_is_answered, begin, end),
		cmocka_unit_test_setup_teardown(watches_are_bounded, begin, end),
		cmocka_unit_test_setup_teardown(an_overflow_is_told_to_all, begin, end),
		cmocka_unit_test_setup_teardown(
			a_full_link_holds_back_news_and_loses_none, begin, end),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

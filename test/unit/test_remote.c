/* Questions about files, with a test for an agent: what it answers, what no agent may answer, and a
 * link that is lost meanwhile. */
#include "../../tracer/remote.c"

#include <sys/socket.h>
#include <sys/stat.h>

#include "../../tracer/tree.c"
#include "../../tracer/tree_content.c"
#include "../../tracer/tree_links.c"
#include "../../tracer/tree_list.c"
#include "../../tracer/tree_place.c"
#include "unit.h"

static struct tracer tracer;
static struct remote remote;
static struct mux agent;
static bool may_return, link_lost;
static char heard[4096]; /* by the agent: "file_open file_close " */
static struct msg last;  /* that it heard, without spans */

uint32_t outgoing_channel(struct outgoing *out)
{
	return PROTO_CLIENT_CHANNEL | out->next_channel++;
}

bool link_may_return(const struct link *l)
{
	(void)l;
	return may_return;
}

/* --- the agent --- */

static struct channel agent_channel;

static void agent_reset(struct channel *c, int error)
{
	(void)c;
	(void)error;
	strcat(heard, "reset ");
}

static void agent_data(struct channel *c, const uint8_t *p, size_t n)
{
	(void)c;
	(void)p;
	(void)n;
}

static void agent_eof(struct channel *c)
{
	(void)c;
}

static void agent_writable(struct channel *c)
{
	(void)c;
}

static const struct channel_ops agent_channel_ops = {
	.data = agent_data,
	.eof = agent_eof,
	.reset = agent_reset,
	.writable = agent_writable,
};

static void agent_message(struct mux *mux, const struct msg *m)
{
	strcat(strcat(heard, proto_name(m->type)), " ");
	last = *m;
	if (m->type != MSG_file_open)
		return;
	channel_close(&agent_channel);
	assert_int_equal(channel_open(&agent_channel, mux, m->id, &agent_channel_ops), 0);
	channel_widen(&agent_channel, PROTO_FILE_WINDOW);
}

static void our_message(struct mux *mux, const struct msg *m)
{
	(void)mux;
	remote_message(&remote, m);
}

static void lost(struct mux *mux, int error, const char *why)
{
	(void)error;
	(void)why;
	link_lost |= mux != &agent;
}

static const struct mux_ops agent_ops = { .message = agent_message, .lost = lost };
static const struct mux_ops our_ops = { .message = our_message, .lost = lost };

/* --- the asker: it writes down what it is told --- */

static char told[65536];
static bool drop_it;

static void tell(struct remote_query *q, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void tell(struct remote_query *q, const char *fmt, ...)
{
	size_t n = strlen(told);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(told + n, sizeof(told) - n, fmt, ap);
	va_end(ap);
	if (drop_it)
		remote_drop(q);
}

static void found(struct remote_query *q, int error, const struct remote_found *f)
{
	assert_true(!error == !!f);
	if (error)
		tell(q, "found(%s) ", strerrorname_np(error));
	else
		tell(q, "found(%s,%s,%zu) ", f->path, f->more, f->more_len);
}

static void hear_data(struct remote_query *q, uint64_t offset, const uint8_t *p, size_t n)
{
	tell(q, "data(%llu,%.*s) ", (unsigned long long)offset, (int)MIN(n, 16u), (const char *)p);
}

static void hear_entry(struct remote_query *q, const struct file_attr *attr, const char *name,
	size_t name_len, const char *link, size_t link_len)
{
	(void)attr;
	tell(q, "entry(%.*s,%.*s) ", (int)name_len, name, (int)link_len, link);
}

static void hear_end(struct remote_query *q, int error, uint64_t size, uint64_t version)
{
	tell(q, "end(%d,%llu,%llu) ", error, (unsigned long long)size, (unsigned long long)version);
}

static const struct remote_ops ops = {
	.found = found, .data = hear_data, .entry = hear_entry, .end = hear_end
};

/* --- a link --- */

static void connect_link(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(
		mux_init(&tracer.link.mux, &tracer.loop, pair[0], PROTO_CLIENT, &our_ops), 0);
	assert_int_equal(mux_init(&agent, &tracer.loop, pair[1], PROTO_AGENT, &agent_ops), 0);
	link_lost = false;
	heard[0] = told[0] = '\0';
	tracer.link.open = tracer.link.hello = true;
}

static void start_test(void)
{
	tracer = (struct tracer){ 0 };
	assert_int_equal(loop_init(&tracer.loop), 0);
	connect_link();
	remote_init(&remote, &tracer);
	may_return = drop_it = false;
}

static void end_test(void)
{
	remote_done(&remote);
	mux_done(&tracer.link.mux);
	mux_done(&agent);
	loop_done(&tracer.loop);
	assert_true(list_empty(&remote.all));
}

static void settle(void)
{
	unit_run(&tracer.loop, 2);
}

static void agent_says(struct msg m)
{
	mux_send(&agent, &m);
}

static const struct file_attr a_file = { .mode = S_IFREG | 0644, .size = 3 };
static const struct file_attr a_dir = { .mode = S_IFDIR | 0755 };

static struct msg opened_msg(uint32_t id, uint32_t error, enum file_content content,
	const struct file_attr *attr, const char *path, size_t path_len)
{
	return (struct msg){ .type = MSG_file_opened,
		.id = id,
		.file_opened = { .error = error,
			.content = (uint8_t)content,
			.attr = *attr,
			.version = 5,
			.path_len = (uint16_t)path_len,
			.path = span_of(path) } };
}

static struct msg data_msg(uint32_t id, uint64_t offset, const char *text)
{
	return (struct msg){ .type = MSG_file_data,
		.id = id,
		.file_data = { .offset = offset, .bytes = span_of(text) } };
}

static struct msg entry_msg(uint32_t id, const char *name, uint16_t name_len)
{
	return (struct msg){ .type = MSG_file_entry,
		.id = id,
		.file_entry = { .attr = a_file, .name_len = name_len, .name = span_of(name) } };
}

static struct msg end_msg(uint32_t id, uint32_t error, uint64_t size)
{
	return (struct msg){ .type = MSG_file_end,
		.id = id,
		.file_end = { .error = error, .size = size, .version = 6 } };
}

static struct msg done_msg(uint32_t id, uint32_t error, const char *path, size_t path_len)
{
	return (struct msg){ .type = MSG_file_done,
		.id = id,
		.file_done = { .error = error,
			.attr = a_file,
			.path_len = (uint16_t)path_len,
			.path = span_of(path) } };
}

static struct remote_query *query(void)
{
	static struct remote_query q;

	q = (struct remote_query){ .ops = &ops };
	return &q;
}

static struct remote_query *ask_open(uint32_t want)
{
	struct remote_query *q = query();

	assert_int_equal(remote_open(&remote, q, want, 0, 1, 0, "/f"), 0);
	return q;
}

/* --- tests --- */

static void test_content(void **state)
{
	struct remote_query *q;

	(void)state;
	start_test();
	q = ask_open(FILE_READ | FILE_CONTENT);
	run_until(&tracer.loop, strcmp(heard, "file_open ") == 0);
	assert_int_equal(last.id, q->id);
	assert_int_equal(last.file_open.want, FILE_READ | FILE_CONTENT);
	agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/real/f", 7));
	agent_says(data_msg(q->id, 0, "abc"));
	agent_says(data_msg(q->id, 7, ""));
	agent_says(end_msg(q->id, 0, 3));
	agent_says((struct msg){ .type = MSG_eof, .id = q->id });
	run_until(&tracer.loop, strstr(told, "end"));
	assert_string_equal(told, "found(/real/f,,0) data(0,abc) end(0,3,6) ");
	settle();
	assert_false(link_lost);
	assert_int_equal(tracer.link.mux.channels.count, 0);
	end_test();
}

static const struct {
	uint32_t error;
	enum file_content content;
	const char *told;
} singles[] = {
	{ ENOENT, FILE_NOTHING, "found(ENOENT) " },
	{ 100000, FILE_NOTHING, "found(EPROTO) " },
	{ 0, FILE_NOTHING, "found(/a,more,4) " },
	{ 0, FILE_UNCHANGED, "found(/a,more,4) " },
};

static void test_single_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(singles); i++) {
		struct remote_query *q;

		start_test();
		q = ask_open(FILE_READ | FILE_CONTENT);
		agent_says(opened_msg(
			q->id, singles[i].error, singles[i].content, &a_file, "/amore", 2));
		run_until(&tracer.loop, *told);
		assert_string_equal(told, singles[i].told);
		assert_true(list_empty(&remote.all));
		assert_int_equal(tracer.link.mux.channels.count, 0);
		remote_drop(q); /* too late, and no harm */
		end_test();
	}
}

static void test_entries(void **state)
{
	struct remote_query *q;

	(void)state;
	start_test();
	q = ask_open(FILE_READ | FILE_LIST);
	agent_says(opened_msg(q->id, 0, FILE_ENTRIES, &a_dir, "/d", 2));
	agent_says(entry_msg(q->id, "name", 4));
	agent_says(entry_msg(q->id, "linktext", 4));
	agent_says(end_msg(q->id, EIO, 0));
	run_until(&tracer.loop, strstr(told, "end"));
	assert_string_equal(told, "found(/d,,0) entry(name,) entry(link,text) end(5,0,6) ");
	end_test();
}

/* More than one window: credit comes back. */
static void test_credit(void **state)
{
	static char bytes[PROTO_DATA_MAX + 1];
	struct remote_query *q;

	(void)state;
	start_test();
	memset(bytes, 'x', PROTO_DATA_MAX);
	q = ask_open(FILE_READ | FILE_CONTENT);
	run_until(&tracer.loop, *heard);
	agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/f", 2));
	for (uint64_t i = 0; i < 256;) {
		struct msg m = data_msg(q->id, i * PROTO_DATA_MAX, bytes);

		if (channel_post(&agent_channel, &m, PROTO_DATA_MAX) == 0)
			i++;
		else
			settle();
		told[0] = '\0';
	}
	agent_says(end_msg(q->id, 0, 256 * PROTO_DATA_MAX));
	run_until(&tracer.loop, strstr(told, "end"));
	assert_false(link_lost);
	end_test();
}

static void test_ops(void **state)
{
	struct remote_query *q;

	(void)state;
	start_test();
	q = query();
	assert_int_equal(remote_op(&remote, q, FILE_OP_RENAME, 1, 2, 3, "/old", "/new", 4), 0);
	run_until(&tracer.loop, strcmp(heard, "file_op ") == 0);
	assert_int_equal(last.file_op.path_len, 4);
	assert_int_equal(last.file_op.path.len, 8);
	assert_int_equal(last.file_op.b, 3);
	agent_says(done_msg(q->id + 1, 0, "/x", 2)); /* of nobody */
	agent_says(done_msg(q->id, 0, "/r/old/r/new", 6));
	run_until(&tracer.loop, *told);
	assert_string_equal(told, "found(/r/old,/r/new,6) ");
	assert_false(link_lost);
	told[0] = '\0';
	q = query();
	assert_int_equal(remote_sync(&remote, q, 77), 0);
	run_until(&tracer.loop, strstr(heard, "file_sync "));
	assert_int_equal(last.id, 77);
	assert_int_equal(last.file_sync.request, q->id);
	agent_says((struct msg){ .type = MSG_file_synced,
		.id = 77,
		.file_synced = { .request = q->id, .error = ENOSPC } });
	run_until(&tracer.loop, *told);
	assert_string_equal(told, "found(ENOSPC) ");
	assert_int_equal(remote.queries.count, 0);
	end_test();
}

static void test_too_long(void **state)
{
	static char path[PROTO_FILE_PATH_MAX + 2], value[PROTO_DATA_MAX];
	struct remote_query *q = query();

	(void)state;
	start_test();
	memset(path, 'x', PROTO_FILE_PATH_MAX + 1);
	assert_int_equal(remote_open(&remote, q, 0, 0, 0, 0, path), -ENAMETOOLONG);
	assert_int_equal(
		remote_op(&remote, q, FILE_OP_STAT, 0, 0, 0, path, NULL, 0), -ENAMETOOLONG);
	path[PROTO_FILE_PATH_MAX] = '\0';
	assert_int_equal(remote_op(&remote, q, FILE_OP_SETXATTR, 0, 0, 0, path, value,
				 PROTO_DATA_MAX - PROTO_FILE_PATH_MAX + 1),
		-E2BIG);
	assert_int_equal(remote_op(&remote, q, FILE_OP_SETXATTR, 0, 0, 0, path, value,
				 PROTO_DATA_MAX - PROTO_FILE_PATH_MAX),
		0);
	settle();
	assert_false(link_lost);
	end_test();
}

#define LIES_AT_ONCE 16
#define LIES         22

/* What no agent may say costs it the link, and the question is answered all the same. */
static void liar_says(unsigned which, uint32_t id)
{
	const struct file_attr large = { .mode = S_IFREG, .size = UINT64_MAX }, none = { 0 };
	struct msg good = opened_msg(id, 0, FILE_BYTES, &a_file, "/f", 2);
	struct msg lies[] = {
		opened_msg(id, 0, FILE_BYTES, &a_file, "f", 1),
		opened_msg(id, 0, FILE_BYTES, &a_file, "/a/../b", 7),
		opened_msg(id, 0, FILE_BYTES, &a_file, "/a//b", 5),
		opened_msg(id, 0, FILE_BYTES, &a_file, "", 0),
		opened_msg(id, 0, FILE_BYTES, &a_file, "/f", 3),
		opened_msg(id, 0, FILE_BYTES, &a_dir, "/f", 2),
		opened_msg(id, 0, FILE_BYTES, &large, "/f", 2),
		opened_msg(id, 0, FILE_NOTHING, &none, "/f", 2),
		opened_msg(id, 0, FILE_ENTRIES, &a_dir, "/f", 2), /* not asked for */
		opened_msg(id, 0, FILE_CONTENT_MAX, &a_file, "/f", 2),
		data_msg(id, 0, "x"),
		end_msg(id, 0, 0),
		entry_msg(id, "x", 1),
		{ .type = MSG_eof, .id = id },
		{ .type = MSG_data, .id = id, .data.bytes = span_of("x") },
		{ .type = MSG_connected, .id = id, .connected.local = addr_v4(0, 0) },
		/* From here on after a good beginning. */
		good,
		data_msg(id, UINT64_MAX, "x"),
		data_msg(id, INT64_MAX, "x"),
		end_msg(id, 0, UINT64_MAX),
		entry_msg(id, "x", 1),
		{ .type = MSG_eof, .id = id },
	};

	assert_int_equal(ARRAY_SIZE(lies), LIES);
	if (which >= LIES_AT_ONCE)
		agent_says(good);
	agent_says(lies[which]);
}

static void test_lies(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LIES; i++) {
		struct remote_query *q;

		start_test();
		q = ask_open(FILE_READ | FILE_CONTENT);
		run_until(&tracer.loop, *heard);
		print_message("# lie %u\n", i);
		liar_says(i, q->id);
		run_until(&tracer.loop, link_lost);
		assert_string_equal(
			told, i < LIES_AT_ONCE ? "found(EIO) " : "found(/f,,0) end(5,0,0) ");
		end_test();
	}
}

static void test_bad_entries(void **state)
{
	static const struct {
		const char *name;
		uint16_t len;
	} names[] = { { "", 0 }, { ".", 1 }, { "..", 2 }, { "a/b", 3 }, { "x", 2 }, { "/", 1 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct remote_query *q;

		start_test();
		q = ask_open(FILE_READ | FILE_LIST);
		agent_says(opened_msg(q->id, 0, FILE_ENTRIES, &a_dir, "/f", 2));
		agent_says(entry_msg(q->id, names[i].name, names[i].len));
		run_until(&tracer.loop, link_lost);
		assert_string_equal(told, "found(/f,,0) end(5,0,0) ");
		end_test();
	}
}

static void test_bad_paths_done(void **state)
{
	static const struct {
		const char *text;
		uint16_t path_len;
	} paths[] = { { "/a..", 2 }, { "x/b", 1 }, { "/a", 2 }, { "/a/b", 5 }, { "/a/./b", 4 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct remote_query *q = query();

		start_test();
		assert_int_equal(remote_op(&remote, q, FILE_OP_RENAME, 0, 0, 0, "/a", "/b", 2), 0);
		agent_says(done_msg(q->id, 0, paths[i].text, paths[i].path_len));
		run_until(&tracer.loop, link_lost);
		assert_string_equal(told, "");
		remote_link_lost(&remote);
		assert_string_equal(told, "found(EIO) ");
		end_test();
	}
}

static void test_another_question(void **state)
{
	struct remote_query *q = query();

	(void)state;
	start_test();
	assert_int_equal(remote_sync(&remote, q, 7), 0);
	agent_says(done_msg(q->id, 0, "/a", 2));
	run_until(&tracer.loop, link_lost);
	end_test();
}

static void test_reset(void **state)
{
	struct remote_query *q;

	(void)state;
	start_test();
	q = ask_open(FILE_READ | FILE_CONTENT);
	agent_says((struct msg){ .type = MSG_reset, .id = q->id, .reset.error = ENOMEM });
	run_until(&tracer.loop, *told);
	assert_string_equal(told, "found(ENOMEM) ");
	told[0] = '\0';
	q = ask_open(FILE_READ | FILE_CONTENT);
	agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/f", 2));
	agent_says((struct msg){ .type = MSG_reset, .id = q->id });
	run_until(&tracer.loop, strstr(told, "end"));
	assert_string_equal(told, "found(/f,,0) end(5,0,0) ");
	assert_false(link_lost);
	end_test();
}

static void test_dropped(void **state)
{
	struct remote_query *q;

	(void)state;
	start_test();
	q = ask_open(FILE_READ | FILE_CONTENT);
	run_until(&tracer.loop, *heard);
	remote_drop(q);
	remote_drop(q);
	agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/f", 2));
	run_until(&tracer.loop, strcmp(heard, "file_open reset ") == 0);
	settle();
	assert_string_equal(told, "");
	/* A handle that nobody has heard of. */
	heard[0] = '\0';
	q = ask_open(FILE_WRITE);
	remote_drop(q);
	run_until(&tracer.loop, strstr(heard, "file_close "));
	assert_int_equal(last.id, q->id);
	/* In the middle of an answer. */
	for (unsigned i = 0; i < 2; i++) {
		heard[0] = told[0] = '\0';
		drop_it = true;
		q = ask_open(FILE_READ | FILE_CONTENT);
		run_until(&tracer.loop, *heard);
		agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/f", 2));
		agent_says(data_msg(q->id, 0, "abc"));
		agent_says(end_msg(q->id, 0, 3));
		run_until(&tracer.loop, strstr(heard, "reset"));
		assert_string_equal(told, "found(/f,,0) ");
	}
	assert_false(link_lost);
	end_test();
}

/* --- the link --- */

static void lose_link(void)
{
	mux_fail(&tracer.link.mux, EPIPE, "the test wants it");
	tracer.link.hello = false;
	mux_done(&agent);
}

static void new_link(void)
{
	mux_done(&tracer.link.mux);
	connect_link();
	remote_link_back(&remote);
}

static void test_link_lost(void **state)
{
	struct remote_query *q, op = { .ops = &ops }, late = { .ops = &ops };

	(void)state;
	start_test();
	q = ask_open(FILE_READ | FILE_CONTENT);
	assert_int_equal(remote_op(&remote, &op, FILE_OP_STAT, 0, 0, 0, "/a", NULL, 0), 0);
	lose_link();
	remote_link_lost(&remote);
	assert_string_equal(told, "found(EIO) found(EIO) ");
	assert_int_equal(remote_open(&remote, &late, FILE_READ, 0, 0, 0, "/f"), -EIO);
	assert_int_equal(remote_op(&remote, &late, FILE_OP_STAT, 0, 0, 0, "/a", NULL, 0), -EIO);
	assert_int_equal(remote_sync(&remote, &late, 7), -EIO);
	assert_true(list_empty(&remote.all));
	(void)q;
	end_test();
}

static void test_link_back(void **state)
{
	struct remote_query half = { .ops = &ops }, op = { .ops = &ops }, make = { .ops = &ops };
	struct remote_query late = { .ops = &ops }, *q;

	(void)state;
	start_test();
	may_return = true;
	assert_int_equal(remote_open(&remote, &half, FILE_CONTENT, 0, 0, 0, "/half"), 0);
	agent_says(opened_msg(half.id, 0, FILE_BYTES, &a_file, "/half", 5));
	run_until(&tracer.loop, *told);
	q = ask_open(FILE_READ | FILE_CONTENT);
	assert_int_equal(remote_op(&remote, &op, FILE_OP_STAT, 0, 0, 0, "/a", NULL, 0), 0);
	assert_int_equal(remote_op(&remote, &make, FILE_OP_MKDIR, 0, 0, 0, "/a", NULL, 0), 0);
	lose_link();
	assert_string_equal(told, "found(/half,,0) end(5,0,0) ");
	assert_int_equal(
		remote_op(&remote, &late, FILE_OP_MKDIR, 0, 0, 0, "/b", NULL, 0), 0); /* waits */
	new_link();
	assert_string_equal(told, "found(EIO) "); /* it may be there, or not */
	run_until(&tracer.loop, strcmp(heard, "file_open file_op file_op ") == 0);
	agent_says(opened_msg(q->id, 0, FILE_BYTES, &a_file, "/f", 2));
	agent_says(end_msg(q->id, 0, 0));
	agent_says(done_msg(op.id, 0, "/a", 2));
	agent_says(done_msg(late.id, 0, "/b", 2));
	run_until(&tracer.loop, strstr(told, "/b"));
	assert_string_equal(told, "found(EIO) found(/f,,0) end(0,0,6) found(/a,,0) found(/b,,0) ");
	end_test();
}

static void test_link_never_back(void **state)
{
	struct remote_query late = { .ops = &ops };

	(void)state;
	start_test();
	may_return = true;
	ask_open(FILE_READ | FILE_CONTENT);
	lose_link();
	assert_int_equal(remote_open(&remote, &late, FILE_READ, 0, 0, 0, "/f"), 0);
	assert_string_equal(told, "");
	may_return = false;
	remote_link_lost(&remote);
	assert_string_equal(told, "found(EIO) found(EIO) ");
	end_test();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_content),
		cmocka_unit_test(test_single_answers),
		cmocka_unit_test(test_entries),
		cmocka_unit_test(test_credit),
		cmocka_unit_test(test_ops),
		cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_bad_entries),
		cmocka_unit_test(test_bad_paths_done),
		cmocka_unit_test(test_another_question),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_dropped),
		cmocka_unit_test(test_link_lost),
		cmocka_unit_test(test_link_back),
		cmocka_unit_test(test_link_never_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

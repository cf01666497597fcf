/* The target's addresses in the agent's hello. What the link belongs to are stand-ins. */
#include "tracer/link.c"

#include "unit.h"

static struct tracer tracer;
static int agent;

bool config_targetless(__attribute__((unused)) const struct config *cfg)
{
	return false;
}

void context_message(
	__attribute__((unused)) struct context *cx, __attribute__((unused)) const struct msg *m)
{
}

void incoming_message(
	__attribute__((unused)) struct incoming *in, __attribute__((unused)) const struct msg *m)
{
}

bool fs_message(__attribute__((unused)) struct fs *fs, __attribute__((unused)) const struct msg *m)
{
	return false;
}

void fs_before_send(__attribute__((unused)) struct fs *fs)
{
}

void fs_link_broken(__attribute__((unused)) struct fs *fs)
{
}

void tracer_link_lost(__attribute__((unused)) struct tracer *tr)
{
}

void tracer_link_gone(__attribute__((unused)) struct tracer *tr)
{
}

void tracer_link_back(__attribute__((unused)) struct tracer *tr)
{
}

/* Open a link whose agent says hello with these addresses. 0, or -errno of link_open(). */
static int open_with(const void *addresses, size_t n)
{
	struct msg hello = { .type = MSG_hello,
		.hello = { .magic = PROTO_MAGIC,
			.version = PROTO_VERSION,
			.addresses = { addresses, (uint32_t)n } } };
	struct err e;
	struct buf b;
	int pair[2];

	tracer = (struct tracer){ 0 };
	assert_int_equal(loop_init(&tracer.loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	agent = pair[1];
	buf_init(&b, 1 << 16);
	assert_int_equal(proto_encode(&b, &hello), 0);
	assert_int_equal(send(agent, buf_head(&b), buf_len(&b), 0), buf_len(&b));
	buf_done(&b);
	tracer.link = (struct link){ .agent_pidfd = -1, .open = true };
	timer_init(&tracer.link.patience, out_of_patience);
	timer_init(&tracer.link.retry, retry);
	assert_int_equal(
		mux_init(&tracer.link.mux, &tracer.loop, pair[0], PROTO_CLIENT, &link_ops), 0);
	e.text[0] = '\0';
	return await_hello(&tracer.link, &e);
}

static void close_it(void)
{
	tracer.link.hello = false; /* nobody answers a goodbye */
	link_close(&tracer.link);
	loop_done(&tracer.loop);
	close_fd(&agent);
}

static bool has(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text), 0);
	return link_has_address(&tracer.link, &a);
}

static void addresses_are_known_by_their_ip(void **state)
{
	static const uint8_t two[] = { 4, 10, 77, 0, 2, 6, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 9 };
	struct addr scoped;

	(void)state;
	assert_int_equal(open_with(two, sizeof(two)), 0);
	assert_true(has("10.77.0.2:80"));
	assert_true(has("[::ffff:10.77.0.2]:80"));
	assert_true(has("[fe80::9]:1"));
	assert_false(has("10.77.0.3:80"));
	assert_false(has("[fe80::8]:1"));
	assert_false(has("0.0.0.0:80"));
	assert_int_equal(addr_parse(&scoped, "[fe80::9]:1"), 0);
	scoped.in6.sin6_scope_id = 2;
	assert_true(link_has_address(&tracer.link, &scoped));
	close_it();
}

static void none_is_a_list_too(void **state)
{
	(void)state;
	assert_int_equal(open_with("", 0), 0);
	assert_false(has("127.0.0.1:80"));
	close_it();
}

static void so_many_are_kept(void **state)
{
	uint8_t many[(LINK_ADDRESSES_MAX + 1) * 5];

	(void)state;
	for (size_t i = 0; i <= LINK_ADDRESSES_MAX; i++)
		memcpy(many + i * 5, (uint8_t[]){ 4, 10, 0, 1, (uint8_t)i }, 5);
	assert_int_equal(open_with(many, sizeof(many)), 0);
	assert_true(has("10.0.1.127:80"));
	assert_false(has("10.0.1.128:80"));
	close_it();
}

static void a_malformed_list_ends_the_link(void **state)
{
	static const struct {
		size_t n;
		uint8_t bytes[24];
	} cases[] = {
		{ 1, { 4 } },
		{ 4, { 4, 10, 0, 0 } },
		{ 6, { 4, 10, 0, 0, 1, 4 } },
		{ 5, { 5, 10, 0, 0, 1 } },
		{ 5, { 0 } },
		{ 17, { 5 } },
		{ 16, { 6 } },
		{ 22, { 4, 10, 0, 0, 1, 7 } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (open_with(cases[i].bytes, cases[i].n) == 0)
			fail_msg("case %zu was taken", i);
		assert_true(tracer.link.mux.lost);
		close_it();
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_known_by_their_ip),
		cmocka_unit_test(none_is_a_list_too),
		cmocka_unit_test(so_many_are_kept),
		cmocka_unit_test(a_malformed_list_ends_the_link),
	};

	return cmocka_run_group_tests_name("link", tests, NULL, NULL);
}

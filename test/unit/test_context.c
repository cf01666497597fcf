/* What an agent tells of its target, one that tells too much, and one that goes away meanwhile.
 * What the link belongs to are stand-ins. */
#include "unit.h"

#include <sys/socket.h>

#include "tracer/context.c"
#include "tracer/link.c"

static struct tracer tracer;
static struct config config;
static int agent;
static struct buf said; /* by the agent */

bool config_targetless(__attribute__((unused)) const struct config *cfg)
{
	return false;
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

static void say(struct msg m)
{
	assert_int_equal(proto_encode(&said, &m), 0);
}

static void begin(bool env)
{
	int pair[2];

	tracer = (struct tracer){ .cfg = &config };
	config = (struct config){ .env = env };
	assert_int_equal(loop_init(&tracer.loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	agent = pair[1];
	buf_init(&said, 64u << 20);
	tracer.link = (struct link){ .agent_pidfd = -1, .open = true, .hello = true };
	timer_init(&tracer.link.patience, out_of_patience);
	timer_init(&tracer.link.retry, retry);
	assert_int_equal(
		mux_init(&tracer.link.mux, &tracer.loop, pair[0], PROTO_CLIENT, &link_ops), 0);
}

/* The agent's words fit into the socket, or a child says them. 0 or -errno of context_get(). */
static int get(struct err *e)
{
	pid_t child = fork();
	int r;

	if (child == 0) {
		for (size_t at = 0; at < buf_len(&said);) {
			ssize_t n = send(
				agent, buf_head(&said) + at, buf_len(&said) - at, MSG_NOSIGNAL);

			if (n < 0)
				break;
			at += (size_t)n;
		}
		_exit(0);
	}
	r = context_get(&tracer.context, &tracer, e);
	assert_int_equal(waitpid(child, NULL, 0), child);
	return r;
}

/* How often the agent was asked with that message. */
static unsigned asked(enum msg_type type)
{
	uint8_t in[4096];
	ssize_t n = recv(agent, in, sizeof(in), MSG_DONTWAIT);
	unsigned times = 0;
	struct msg m;
	int len;

	for (ssize_t at = 0; at < n; at += len) {
		len = proto_decode(in + at, (size_t)(n - at), PROTO_CLIENT, &m);
		assert_true(len > 0);
		times += m.type == type;
	}
	return times;
}

static void end(void)
{
	tracer.link.hello = false; /* nobody answers a goodbye */
	link_close(&tracer.link);
	context_done(&tracer.context);
	loop_done(&tracer.loop);
	buf_done(&said);
	close_fd(&agent);
}

static struct msg context(const char *node, struct span mounts)
{
	return (struct msg){ .type = MSG_context,
		.context = { .uid = 33,
			.gid = 44,
			.has_files = 1,
			.nodename = span_of(node),
			.domainname = span_of("(none)"),
			.mounts = mounts } };
}

static struct msg environment(bool more, const char *text, size_t n)
{
	return (struct msg){ .type = MSG_environ,
		.environ = { .more = more, .bytes = { text, (uint32_t)n } } };
}

static void everything_is_kept(void **state)
{
	static const char mounts[] = "/data\0relative\0\0/a b";
	const struct context *cx = &tracer.context;
	struct err e;

	(void)state;
	begin(true);
	say(environment(true, "A=1\0B", 5));
	say(context("shop-1", (struct span){ mounts, sizeof(mounts) }));
	say(environment(false, "=2", 3));
	assert_int_equal(get(&e), 0);
	assert_int_equal(asked(MSG_environ_get), 1);
	assert_int_equal(cx->uid, 33);
	assert_int_equal(cx->gid, 44);
	assert_true(cx->has_files);
	assert_string_equal(cx->nodename, "shop-1");
	assert_string_equal(cx->domainname, "(none)");
	assert_string_equal(cx->mounts[0], "/data");
	assert_string_equal(cx->mounts[1], "/a b");
	assert_null(cx->mounts[2]);
	assert_int_equal(buf_len(&cx->environ), 8);
	assert_memory_equal(buf_head(&tracer.context.environ), "A=1\0B=2", 8);
	end();
}

static void an_environment_that_is_not_wanted_is_not_asked_for(void **state)
{
	struct err e;

	(void)state;
	begin(false);
	say(environment(false, "A=1", 4));
	say(context("a", span_of("")));
	say(context("b", span_of("")));
	assert_int_equal(get(&e), 0);
	assert_int_equal(asked(MSG_environ_get), 0);
	assert_int_equal(buf_len(&tracer.context.environ), 0);
	assert_string_equal(tracer.context.nodename, "a");
	assert_null(tracer.context.mounts[0]);
	end();
}

static void the_longest_names_fit(void **state)
{
	char name[65] = "";
	struct err e;

	(void)state;
	memset(name, 'x', 64);
	begin(false);
	say(context(name, span_of("")));
	assert_int_equal(get(&e), 0);
	assert_string_equal(tracer.context.nodename, name);
	end();
}

static void so_many_mounts_are_kept(void **state)
{
	static char mounts[(CONTEXT_MOUNTS_MAX + 1) * 2];
	struct err e;

	(void)state;
	for (size_t i = 0; i < sizeof(mounts); i += 2)
		mounts[i] = '/';
	begin(false);
	say(context("a", (struct span){ mounts, sizeof(mounts) }));
	assert_int_equal(get(&e), 0);
	assert_non_null(tracer.context.mounts[CONTEXT_MOUNTS_MAX - 1]);
	assert_null(tracer.context.mounts[CONTEXT_MOUNTS_MAX]);
	end();
}

static void an_environment_that_cannot_be_read_is_a_failure(void **state)
{
	struct msg denied = { .type = MSG_environ, .environ = { .error = EACCES, .more = 1 } };
	struct msg absurd = { .type = MSG_environ, .environ = { .error = UINT32_MAX } };
	struct msg namespace = context("a", span_of(""));
	struct err e;

	(void)state;
	begin(true);
	say(context("a", span_of("")));
	say(denied);
	assert_int_equal(get(&e), -EACCES);
	assert_string_equal(e.text, "the target's environment cannot be read: Permission denied; "
				    "--no-env goes without it");
	end();
	begin(true);
	say(context("a", span_of("")));
	say(absurd);
	assert_int_equal(get(&e), -EPROTO);
	end();
	/* Whose should it be? */
	namespace.context.has_files = 0;
	begin(true);
	say(denied);
	say(namespace);
	assert_int_equal(get(&e), 0);
	end();
}

static void an_environment_without_end_is_not_kept(void **state)
{
	static char chunk[PROTO_DATA_MAX];
	struct err e;

	(void)state;
	memset(chunk, 'x', sizeof(chunk));
	begin(true);
	say(context("a", span_of("")));
	for (size_t n = 0; n <= CONTEXT_ENVIRON_MAX; n += sizeof(chunk))
		say(environment(true, chunk, sizeof(chunk)));
	say(environment(false, "", 0));
	assert_int_equal(get(&e), -E2BIG);
	assert_int_equal(buf_len(&tracer.context.environ), 0);
	end();
}

static void a_link_that_is_lost_meanwhile_is_a_failure(void **state)
{
	struct err e = { "" };

	(void)state;
	begin(true);
	say(context("a", span_of("")));
	shutdown(agent, SHUT_WR);
	assert_int_equal(get(&e), -ECONNRESET);
	assert_non_null(strstr(e.text, "the agent ended the link before it was ready"));
	end();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_kept),
		cmocka_unit_test(an_environment_that_is_not_wanted_is_not_asked_for),
		cmocka_unit_test(the_longest_names_fit),
		cmocka_unit_test(so_many_mounts_are_kept),
		cmocka_unit_test(an_environment_that_cannot_be_read_is_a_failure),
		cmocka_unit_test(an_environment_without_end_is_not_kept),
		cmocka_unit_test(a_link_that_is_lost_meanwhile_is_a_failure),
	};

	return cmocka_run_group_tests_name("context", tests, NULL, NULL);
}

/* What a client may say when. Stealing and mirroring are stand-ins that write down what was asked.
 */
#include "agent/session.c"

#include <sys/socket.h>

#include "unit.h"

static struct agent agent;
static char done[256];
static int steal_result;

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	size_t n = strlen(done);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(done + n, sizeof(done) - n, fmt, ap);
	va_end(ap);
}

int steal_add(__attribute__((unused)) struct steal *s, struct steal_port *p,
	const struct subscriber *owner, enum proto_family family, uint16_t port, struct err *e)
{
	if (steal_result < 0)
		return err_set(e, steal_result, "not today");
	p->port = port;
	note("+s%u:%d/%u ", owner->id, family, port);
	return 0;
}

void drain_leave(struct drain *d)
{
	container_of(d, struct agent, drain)->loop.stop = true;
}

int outgoing_connect(__attribute__((unused)) struct drain *d,
	__attribute__((unused)) struct mux *mux,
	__attribute__((unused)) const struct target *target, const struct msg *m)
{
	if (!(m->id & PROTO_CLIENT_CHANNEL))
		return -EPROTO;
	note("connect%u ", m->id & ~PROTO_CLIENT_CHANNEL);
	return 0;
}

void steal_del(__attribute__((unused)) struct steal *s, struct steal_port *p)
{
	note("-s%u ", p->port);
}

const char *steal_method(__attribute__((unused)) const struct steal *s)
{
	return "magic";
}

int mirror_add(__attribute__((unused)) struct mirror *m, struct mirror_port *p,
	const struct subscriber *to, enum proto_family family, uint16_t port,
	__attribute__((unused)) struct err *e)
{
	p->to.id = port;
	note("+m%u:%d/%u ", to->id, family, port);
	return 0;
}

void mirror_del(__attribute__((unused)) struct mirror *m, struct mirror_port *p)
{
	note("-m%u ", p->to.id);
}

int udp_open(__attribute__((unused)) struct loop *loop,
	__attribute__((unused)) const struct udp_ports *ports,
	__attribute__((unused)) struct mux *mux, const struct msg *m)
{
	if (!(m->id & PROTO_CLIENT_CHANNEL))
		return -EPROTO;
	note("udp%u ", m->id & ~PROTO_CLIENT_CHANNEL);
	return 0;
}

int file_open(__attribute__((unused)) struct loop *loop, __attribute__((unused)) struct mux *mux,
	__attribute__((unused)) const struct target *t, __attribute__((unused)) struct handles *h,
	const struct msg *m)
{
	if (!(m->id & PROTO_CLIENT_CHANNEL))
		return -EPROTO;
	note("open%u ", m->id & ~PROTO_CLIENT_CHANNEL);
	return 0;
}

int file_op(__attribute__((unused)) struct mux *mux, __attribute__((unused)) const struct target *t,
	const struct msg *m)
{
	if (m->file_op.op >= FILE_OP_MAX)
		return -EPROTO;
	note("op%u ", m->file_op.op);
	return 0;
}

void handles_init(struct handles *h, __attribute__((unused)) struct mux *mux,
	__attribute__((unused)) const struct target *t)
{
	*h = (struct handles){ 0 };
}

void handles_done(__attribute__((unused)) struct handles *h)
{
}

void handle_message(__attribute__((unused)) struct handles *h, const struct msg *m)
{
	note("%s ", proto_name(m->type));
}

void watches_init(struct watches *w, __attribute__((unused)) struct loop *loop,
	__attribute__((unused)) struct mux *mux, __attribute__((unused)) const struct target *t)
{
	*w = (struct watches){ 0 };
}

void watches_done(__attribute__((unused)) struct watches *w)
{
}

int watch_message(__attribute__((unused)) struct watches *w, const struct msg *m)
{
	note("%s ", proto_name(m->type));
	return m->id == 9 ? -EPROTO : 0;
}

void context_send(__attribute__((unused)) struct mux *mux,
	__attribute__((unused)) const struct target *t, uint32_t id)
{
	note("context%u ", id);
}

void environ_send(__attribute__((unused)) struct mux *mux,
	__attribute__((unused)) const struct target *t, uint32_t id)
{
	note("environ%u ", id);
}

/* --- a client: a socket, and the agent's answers as words --- */

static int client;
static struct buf answers;

static void begin(void)
{
	int fds[2];

	agent = (struct agent){ .ends_with_session = true };
	done[0] = '\0';
	steal_result = 0;
	assert_int_equal(loop_init(&agent.loop), 0);
	list_init(&agent.sessions);
	strcpy(agent.target.about, "a target");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	client = fds[1];
	buf_init(&answers, 1 << 20);
	assert_int_equal(session_start(&agent, fds[0]), 0);
}

static void end(void)
{
	session_end_all(&agent);
	loop_done(&agent.loop);
	buf_done(&answers);
	close_fd(&client);
}

static void say(const struct msg *m)
{
	struct buf b;

	buf_init(&b, 1 << 16);
	assert_int_equal(proto_encode(&b, m), 0);
	assert_int_equal(send(client, buf_head(&b), buf_len(&b), MSG_NOSIGNAL), buf_len(&b));
	buf_done(&b);
}

/* All answers so far as words; the last is "end" when the agent has closed the link. */
static void hear(char *s, size_t size)
{
	size_t len = 0;
	struct msg m;
	ssize_t n;
	int r;

	unit_run(&agent.loop, 2);
	do {
		uint8_t *to = buf_reserve(&answers, 65536);

		n = recv(client, to, 65536, MSG_DONTWAIT);
		if (n > 0)
			buf_commit(&answers, (size_t)n);
	} while (n > 0);
	*s = '\0';
	while ((r = proto_decode(buf_head(&answers), buf_len(&answers), PROTO_AGENT, &m)) > 0) {
		len += (size_t)snprintf(s + len, size - len, "%s", proto_name(m.type));
		if (m.type == MSG_subscribed)
			len += (size_t)snprintf(s + len, size - len, "(%u,%u,%.*s)", m.id,
				m.subscribed.error, (int)m.subscribed.text.len,
				(const char *)m.subscribed.text.data);
		len += (size_t)snprintf(s + len, size - len, " ");
		buf_consume(&answers, (size_t)r);
		assert_true(len < size);
	}
	if (n == 0)
		snprintf(s + len, size - len, "end");
}

#define HELLO(m, v)                                                                                \
	{                                                                                          \
		.type = MSG_hello, .hello = {.magic = (m), .version = (v) }                        \
	}
#define SUB(i, mode_, f, p)                                                                        \
	{                                                                                          \
		.type = MSG_subscribe, .id = (i), .subscribe = {                                   \
			.mode = (mode_),                                                           \
			.family = (f),                                                             \
			.port = (p)                                                                \
		}                                                                                  \
	}
#define UNSUB(i)                                                                                   \
	{                                                                                          \
		.type = MSG_unsubscribe, .id = (i)                                                 \
	}
#define CONNECT(i)                                                                                 \
	{                                                                                          \
		.type = MSG_connect, .id = (i)                                                     \
	}
#define UDP(i)                                                                                     \
	{                                                                                          \
		.type = MSG_udp_open, .id = (i)                                                    \
	}
#define ABOUT(t, i)                                                                                \
	{                                                                                          \
		.type = MSG_##t, .id = (i)                                                         \
	}
#define OP(o)                                                                                      \
	{                                                                                          \
		.type = MSG_file_op, .file_op.op = (o)                                             \
	}
#define GOOD HELLO(PROTO_MAGIC, PROTO_VERSION)

static void messages_are_answered_or_end_the_session(void **state)
{
	static const struct {
		const char *name;
		struct msg says[5];
		const char *hears, *does;
	} cases[] = {
		{ "hello", { GOOD }, "hello ", "" },
		{ "no magic", { HELLO(1, PROTO_VERSION) }, "end", "" },
		{ "another version", { HELLO(PROTO_MAGIC, PROTO_VERSION + 1) }, "notice end", "" },
		{ "hello twice", { GOOD, GOOD }, "hello notice end", "" },
		{ "subscribe before hello", { SUB(1, INCOMING_STEAL, 4, 80) }, "notice end", "" },
		{ "unsubscribe before hello", { UNSUB(1) }, "notice end", "" },
		{ "steal", { GOOD, SUB(7, INCOMING_STEAL, 4, 80) }, "hello subscribed(7,0,magic) ",
			"+s7:4/80 " },
		{ "mirror", { GOOD, SUB(7, INCOMING_MIRROR, 6, 80) },
			"hello subscribed(7,0,packet ring) ", "+m7:6/80 " },
		{ "several, and one ends",
			{ GOOD, SUB(1, INCOMING_STEAL, 4, 80), SUB(2, INCOMING_MIRROR, 4, 80),
				UNSUB(1), SUB(1, INCOMING_STEAL, 4, 81) },
			"hello subscribed(1,0,magic) subscribed(2,0,packet ring) "
			"subscribed(1,0,magic) ",
			"+s1:4/80 +m2:4/80 -s80 +s1:4/81 " },
		{ "unknown unsubscribe", { GOOD, UNSUB(9) }, "hello ", "" },
		{ "an id twice",
			{ GOOD, SUB(1, INCOMING_STEAL, 4, 80), SUB(1, INCOMING_STEAL, 4, 81) },
			"hello subscribed(1,0,magic) notice end", "+s1:4/80 -s80 " },
		{ "mode off", { GOOD, SUB(1, INCOMING_OFF, 4, 80) }, "hello notice end", "" },
		{ "mode 3", { GOOD, SUB(1, INCOMING_MODE_MAX, 4, 80) }, "hello notice end", "" },
		{ "family 5", { GOOD, SUB(1, INCOMING_STEAL, 5, 80) }, "hello notice end", "" },
		{ "connect", { GOOD, CONNECT(PROTO_CLIENT_CHANNEL | 5) }, "hello ", "connect5 " },
		{ "connect before hello", { CONNECT(PROTO_CLIENT_CHANNEL) }, "notice end", "" },
		{ "connect with our id", { GOOD, CONNECT(5) }, "hello notice end", "" },
		{ "udp", { GOOD, UDP(PROTO_CLIENT_CHANNEL | 5) }, "hello ", "udp5 " },
		{ "udp before hello", { UDP(PROTO_CLIENT_CHANNEL) }, "notice end", "" },
		{ "udp with our id", { GOOD, UDP(5) }, "hello notice end", "" },
		{ "open", { GOOD, ABOUT(file_open, PROTO_CLIENT_CHANNEL | 5) }, "hello ",
			"open5 " },
		{ "open with our id", { GOOD, ABOUT(file_open, 5) }, "hello notice end", "" },
		{ "open before hello", { ABOUT(file_open, 5) }, "notice end", "" },
		{ "what an open file takes",
			{ GOOD, ABOUT(file_write, 5), ABOUT(file_truncate, 5), ABOUT(file_sync, 5),
				ABOUT(file_close, 5) },
			"hello ", "file_write file_truncate file_sync file_close " },
		{ "a write before hello", { ABOUT(file_write, 5) }, "notice end", "" },
		{ "an operation", { GOOD, OP(FILE_OP_STAT) }, "hello ", "op1 " },
		{ "an operation that is none", { GOOD, OP(FILE_OP_MAX) }, "hello notice end", "" },
		{ "watches", { GOOD, ABOUT(file_watch, 5), ABOUT(file_unwatch, 5) }, "hello ",
			"file_watch file_unwatch " },
		{ "a watch that makes no sense", { GOOD, ABOUT(file_watch, 9) }, "hello notice end",
			"file_watch " },
		{ "context", { GOOD, ABOUT(context_get, 5), ABOUT(environ_get, 6) }, "hello ",
			"context5 environ6 " },
		{ "context before hello", { ABOUT(context_get, 5) }, "notice end", "" },
		{ "port 0", { GOOD, SUB(1, INCOMING_STEAL, 4, 0) }, "hello notice end", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char heard[512];

		begin();
		for (size_t j = 0; j < 5 && cases[i].says[j].type; j++)
			say(&cases[i].says[j]);
		hear(heard, sizeof(heard));
		if (strcmp(heard, cases[i].hears) != 0 || strcmp(done, cases[i].does) != 0)
			fail_msg("%s: heard \"%s\", did \"%s\"", cases[i].name, heard, done);
		end();
	}
}

static void a_failure_is_answered_with_its_reason(void **state)
{
	static const struct msg hello = GOOD, steal = SUB(3, INCOMING_STEAL, 4, 80);
	char heard[256];

	(void)state;
	begin();
	steal_result = -EADDRINUSE;
	say(&hello);
	say(&steal);
	hear(heard, sizeof(heard));
	assert_string_equal(heard, "hello subscribed(3,98,not today) ");

	/* The id is free again. */
	steal_result = 0;
	say(&steal);
	hear(heard, sizeof(heard));
	assert_string_equal(heard, "subscribed(3,0,magic) ");
	end();
}

static void subscriptions_are_bounded(void **state)
{
	static const struct msg hello = GOOD;
	char heard[16384];

	(void)state;
	begin();
	say(&hello);
	for (uint32_t i = 0; i < SESSION_SUBSCRIPTIONS_MAX + 2; i++) {
		struct msg m = SUB(i, INCOMING_MIRROR, 4, 80);

		say(&m);
	}
	hear(heard, sizeof(heard));
	assert_non_null(strstr(heard, "subscribed(255,0,"));
	assert_non_null(strstr(heard, "subscribed(256,28,a session may"));
	end();
}

static void a_client_that_goes_takes_all_with_it(void **state)
{
	static const struct msg hello = GOOD, steal = SUB(1, INCOMING_STEAL, 4, 80);
	char heard[256];

	(void)state;
	begin();
	say(&hello);
	say(&steal);
	hear(heard, sizeof(heard));
	close_fd(&client);
	agent.loop.stop = false;
	assert_int_equal(loop_run(&agent.loop), 0); /* until the session stops it */
	assert_string_equal(done, "+s1:4/80 -s80 ");
	assert_true(list_empty(&agent.sessions));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(messages_are_answered_or_end_the_session),
		cmocka_unit_test(a_failure_is_answered_with_its_reason),
		cmocka_unit_test(subscriptions_are_bounded),
		cmocka_unit_test(a_client_that_goes_takes_all_with_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

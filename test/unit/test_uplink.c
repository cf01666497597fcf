/* Stand-ins of a guest's datagram socket, over the kernel's real loopback; the agent is a mux of
 * the test's own. */
#include "../../tracer/uplink.c"

#include "unit.h"

#define RECEIVED_MAX 64

static struct tracer tracer;
static struct uplink_table table;
static struct mux agent;
static struct channel agent_channel;
static bool has_channel;
static bool may_return;

static struct {
	struct addr peer;
	size_t len;
	uint8_t first;
} received[RECEIVED_MAX];
static unsigned nreceived;
static int over_error;
static unsigned nrenewed, asked_family;

enum side names_query(struct names *n, const uint8_t *p, size_t len, struct addr *server)
{
	(void)n;
	(void)p;
	(void)len;
	(void)server;
	return SIDE_REMOTE;
}

bool names_answer(struct names *n, const uint8_t *p, size_t len)
{
	(void)n;
	(void)p;
	(void)len;
	return true;
}

void datagram_check_soon(struct datagram_table *t)
{
	(void)t;
}

uint32_t outgoing_channel(struct outgoing *out)
{
	(void)out;
	return PROTO_CLIENT_CHANNEL;
}

bool link_may_return(const struct link *l)
{
	(void)l;
	return may_return;
}

/* --- the agent --- */

static void agent_got(struct channel *c, const struct msg *m)
{
	struct span bytes = m->datagram.bytes;

	if (m->type != MSG_datagram || nreceived == RECEIVED_MAX)
		return;
	received[nreceived].peer = m->datagram.peer;
	received[nreceived].len = bytes.len;
	received[nreceived++].first = bytes.len ? *(const uint8_t *)bytes.data : 0;
	channel_consumed(c, PROTO_MESSAGE_COST(bytes.len));
}

static void agent_reset(struct channel *c, int error)
{
	(void)c;
	(void)error;
	has_channel = false;
}

static void no_writable(struct channel *c)
{
	(void)c;
}

static const struct channel_ops agent_ops = {
	.reset = agent_reset,
	.writable = no_writable,
	.message = agent_got,
};

static void agent_message(struct mux *mux, const struct msg *m)
{
	assert_int_equal(m->type, MSG_udp_open);
	assert_int_equal(channel_open(&agent_channel, mux, m->id, &agent_ops), 0);
	asked_family = m->udp_open.family;
	has_channel = true;
}

static void message(struct mux *mux, const struct msg *m)
{
	(void)mux;
	(void)m;
}

static void lost(struct mux *mux, int error, const char *why)
{
	(void)mux;
	(void)error;
	(void)why;
}

static const struct mux_ops agent_mux = { .message = agent_message, .lost = lost };
static const struct mux_ops our_mux = { .message = message, .lost = lost };

static void agent_says(const struct addr *peer, const void *p, uint32_t n)
{
	struct msg m = { .type = MSG_datagram,
		.id = agent_channel.id,
		.datagram = { .peer = *peer, .bytes = { p, n } } };

	assert_int_equal(channel_post(&agent_channel, &m, n), 0);
}

/* --- the supervisor --- */

static void opened(struct uplink *up, int error, struct span text)
{
	(void)up;
	(void)error;
	(void)text;
}

static void connected(struct uplink *up, int error, const struct addr *local)
{
	(void)up;
	(void)error;
	(void)local;
}

static void failed(struct uplink *up, int error, const struct addr *peer)
{
	(void)up;
	(void)error;
	(void)peer;
}

static void over(struct uplink *up, int error)
{
	(void)up;
	over_error = error;
}

static void renewed(struct uplink *up)
{
	(void)up;
	nrenewed++;
}

static const struct uplink_ops ops = {
	.opened = opened,
	.connected = connected,
	.failed = failed,
	.over = over,
	.renewed = renewed,
};

/* --- a guest's socket with an uplink --- */

static struct uplink *up;
static int guest = -1;

static struct addr guest_address(void)
{
	struct addr a;

	assert_int_equal(addr_of_socket(guest, &a), 0);
	return a;
}

static void start(sa_family_t family)
{
	struct addr any = family == AF_INET ? addr_v4(INADDR_ANY, 0) : addr_v6(&in6addr_any, 0);
	struct addr at;
	int pair[2];

	tracer = (struct tracer){ .link.open = true };
	nreceived = 0;
	over_error = 0;
	nrenewed = 0;
	assert_int_equal(loop_init(&tracer.loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(
		mux_init(&tracer.link.mux, &tracer.loop, pair[0], PROTO_CLIENT, &our_mux), 0);
	assert_int_equal(mux_init(&agent, &tracer.loop, pair[1], PROTO_AGENT, &agent_mux), 0);
	uplink_table_init(&table, &tracer);
	guest = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(guest, &any.sa, addr_len(&any)), 0);
	at = guest_address();
	assert_int_equal(uplink_new(&up, &table, &ops, INCOMING_OFF, family, &any), 0);
	uplink_guest_is_at(up, &at, false);
	run_until(&tracer.loop, has_channel);
}

static void end(void)
{
	uplink_free(up);
	uplink_table_done(&table);
	mux_done(&tracer.link.mux);
	mux_done(&agent);
	loop_done(&tracer.loop);
	close_fd(&guest);
	has_channel = false;
	assert_int_equal(table.nstandins, 0);
}

static struct addr parsed(const char *text)
{
	struct addr a;

	assert_int_equal(addr_parse(&a, text), 0);
	return a;
}

/* What the guest receives next, and which peer its sender stands for. */
static ssize_t guest_receives(uint8_t *p, size_t n, struct addr *from, struct addr *peer)
{
	socklen_t len = sizeof(*from);
	struct standin *s;
	struct addr plain;
	ssize_t got;

	run_until(&tracer.loop, (got = recvfrom(guest, p, n, 0, &from->sa, &len)) >= 0);
	plain = addr_unmap(from);
	s = uplink_find(&table, &plain);
	assert_non_null(s);
	*peer = s->peer;
	return got;
}

static const struct {
	const char *what;
	sa_family_t family;
	const char *peer, *plain;
} peers[] = {
	{ "IPv4", AF_INET, "192.0.2.7:5000", "192.0.2.7:5000" },
	{ "a peer at loopback", AF_INET, "127.0.0.1:53", "127.0.0.1:53" },
	{ "IPv6", AF_INET6, "[2001:db8::7]:5000", "[2001:db8::7]:5000" },
	{ "IPv4 of an IPv6 socket", AF_INET6, "192.0.2.7:5000", "192.0.2.7:5000" },
	{ "v4-mapped", AF_INET6, "[::ffff:192.0.2.7]:5000", "192.0.2.7:5000" },
};

static void test_both_ways(void **state)
{
	uint8_t bytes[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(peers); i++) {
		struct addr peer = parsed(peers[i].peer), plain = parsed(peers[i].plain), from, who;

		print_message("%s\n", peers[i].what);
		start(peers[i].family);
		agent_says(&peer, "hello", 5);
		assert_int_equal(guest_receives(bytes, sizeof(bytes), &from, &who), 5);
		assert_true(addr_equal(&who, &plain));
		assert_int_equal(sendto(guest, "world!", 6, 0, &from.sa, addr_len(&from)), 6);
		run_until(&tracer.loop, nreceived == 1);
		assert_true(addr_equal(&received[0].peer, &plain));
		assert_int_equal(received[0].len, 6);
		end();
	}
}

static void test_sizes(void **state)
{
	static const size_t sizes[] = { 0, 1, 1473, UPLINK_IPV4_MAX };
	struct addr peer = parsed("192.0.2.7:5000"), from, who;
	static uint8_t bytes[UINT16_MAX];

	(void)state;
	start(AF_INET);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		agent_says(&peer, bytes, (uint32_t)sizes[i]);
		assert_int_equal(guest_receives(bytes, sizeof(bytes), &from, &who), sizes[i]);
		assert_int_equal(
			sendto(guest, bytes, sizes[i], 0, &from.sa, addr_len(&from)), sizes[i]);
		run_until(&tracer.loop, nreceived == i + 1);
		assert_int_equal(received[i].len, sizes[i]);
	}
	end();
}

/* Nobody is there while a stand-in is detached: the guest's kernel says so, and nothing leaves. */
static void test_detached(void **state)
{
	struct addr peer = parsed("192.0.2.7:5000");
	struct standin *s;
	int error = 0;
	socklen_t len = sizeof(error);

	(void)state;
	start(AF_INET);
	assert_int_equal(uplink_standin(up, &peer, &s), 0);
	assert_int_equal(connect(guest, &s->at.sa, addr_len(&s->at)), 0);
	uplink_detach(s);
	assert_int_equal(send(guest, "", 0, 0), 0);
	uplink_attach(s);
	assert_int_equal(getsockopt(guest, SOL_SOCKET, SO_ERROR, &error, &len), 0);
	assert_int_equal(error, ECONNREFUSED);
	assert_int_equal(send(guest, "again", 5, 0), 5);
	run_until(&tracer.loop, nreceived == 1);
	assert_int_equal(received[0].len, 5);
	end();
}

static void test_bound(void **state)
{
	struct standin *first, *s;
	struct addr peer = addr_v4(0xc0000207, 1);

	(void)state;
	start(AF_INET);
	assert_int_equal(uplink_standin(up, &peer, &first), 0);
	for (uint16_t i = 2; i <= UPLINK_STANDINS_MAX + 8; i++) {
		struct addr other = addr_v4(0xc0000207, i);

		assert_int_equal(uplink_standin(up, &other, &s), 0);
		assert_int_equal(uplink_standin(up, &peer, &s), 0);
		assert_ptr_equal(s, first); /* the one that is in use stays */
	}
	assert_int_equal(up->nstandins, UPLINK_STANDINS_MAX);
	end();
}

/* A stand-in that the guest is connected to does not go away under it. */
static void test_held(void **state)
{
	struct standin *first = NULL, *s;
	struct addr one_more = parsed("192.0.2.8:1");

	(void)state;
	start(AF_INET);
	for (uint16_t i = 1; i <= UPLINK_STANDINS_MAX; i++) {
		struct addr peer = addr_v4(0xc0000207, i);

		assert_int_equal(uplink_standin(up, &peer, &s), 0);
		uplink_hold(up, &peer);
		first = i == 1 ? s : first;
	}
	assert_int_equal(uplink_standin(up, &one_more, &s), -ENOBUFS);
	uplink_let_go(up, &first->peer);
	assert_int_equal(uplink_standin(up, &one_more, &s), 0);
	assert_int_equal(up->nstandins, UPLINK_STANDINS_MAX);
	end();
}

/* The target has no IPv6: then what it cannot have is asked for as IPv4. */
static void test_no_ipv6(void **state)
{
	struct msg m = { .type = MSG_udp_opened };

	(void)state;
	start(AF_INET6);
	m.id = agent_channel.id;
	m.udp_opened.error = EAFNOSUPPORT;
	m.udp_opened.local = addr_v4(INADDR_ANY, 0);
	mux_send(&agent, &m);
	channel_close(&agent_channel);
	has_channel = false;
	run_until(&tracer.loop, has_channel);
	assert_int_equal(nrenewed, 1);
	assert_int_equal(asked_family, PROTO_IPV4);
	end();
}

/* After connect(2) with AF_UNSPEC a guest's socket gets another port. */
static void test_moved(void **state)
{
	struct addr peer = parsed("192.0.2.7:5000"), at;
	struct standin *s;

	(void)state;
	start(AF_INET);
	assert_int_equal(uplink_standin(up, &peer, &s), 0);
	at = guest_address();
	at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* as one that is connected has it */
	uplink_guest_is_at(up, &at, false);
	assert_true(uplink_knows(up, &peer));
	addr_set_port(&at, (uint16_t)(addr_port(&at) ^ 1));
	uplink_guest_is_at(up, &at, false);
	assert_false(uplink_knows(up, &peer));
	end();
}

static void test_last_words(void **state)
{
	struct addr peer = parsed("192.0.2.7:5000");
	struct standin *s;

	(void)state;
	start(AF_INET);
	assert_int_equal(uplink_standin(up, &peer, &s), 0);
	assert_int_equal(sendto(guest, "last", 4, 0, &s->at.sa, addr_len(&s->at)), 4);
	close_fd(&guest);
	uplink_free(up);
	run_until(&tracer.loop, !has_channel);
	assert_int_equal(nreceived, 1);
	up = NULL;
	end();
}

static void test_link_lost(void **state)
{
	struct addr peer = parsed("192.0.2.7:5000");

	(void)state;
	start(AF_INET);
	mux_fail(&tracer.link.mux, EPROTO, "the test wants it");
	run_until(&tracer.loop, over_error == ENOTCONN);
	assert_int_equal(uplink_send(up, &peer, (const uint8_t *)"x", 1), -ENETUNREACH);
	may_return = true;
	assert_int_equal(uplink_send(up, &peer, (const uint8_t *)"x", 1), 0);
	may_return = false;
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_detached),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_no_ipv6),
		cmocka_unit_test(test_moved),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_link_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* UDP sockets that a client asks the agent for, and real ones of this namespace as their peers. */
#include "agent/udp.c"

#include "agent_client.h"

static int result; /* of the last udp_open() */
static const struct udp_ports ports;

/* Stand-ins: nothing is stolen here; test/e2e/ does. */
int udp_steal_open(__attribute__((unused)) struct udp_steal **out,
	__attribute__((unused)) struct steal *s, __attribute__((unused)) sa_family_t family,
	__attribute__((unused)) const struct addr *at, __attribute__((unused)) int *fd,
	struct err *e)
{
	return err_set(e, -EADDRINUSE, "not today");
}

void udp_steal_close(struct udp_steal *u)
{
	assert_null(u);
}

ssize_t udp_steal_receive(__attribute__((unused)) struct udp_steal *u,
	__attribute__((unused)) int fd, __attribute__((unused)) void *p,
	__attribute__((unused)) size_t n, __attribute__((unused)) struct addr *peer)
{
	return -EAGAIN;
}

int udp_steal_send(__attribute__((unused)) const struct udp_steal *u,
	__attribute__((unused)) const struct addr *peer, __attribute__((unused)) struct span s)
{
	return 0;
}

int udp_steal_source(__attribute__((unused)) const struct udp_steal *u,
	__attribute__((unused)) const struct addr *peer, __attribute__((unused)) struct addr *from)
{
	return 0;
}

int udp_mirror_open(__attribute__((unused)) struct udp_mirror *u,
	__attribute__((unused)) struct mirror *m, __attribute__((unused)) sa_family_t family,
	__attribute__((unused)) const struct addr *at, struct err *e)
{
	return err_set(e, -EPERM, "not today");
}

void udp_mirror_close(struct udp_mirror *u)
{
	assert_null(u->mirror);
}

bool udp_mirror_has(__attribute__((unused)) const struct udp_mirror *u,
	__attribute__((unused)) const struct addr *a)
{
	return false;
}

const char *steal_method(__attribute__((unused)) const struct steal *s)
{
	return "magic";
}

static void message(struct mux *m, const struct msg *msg)
{
	result = udp_open(&loop, &ports, m, msg);
}

static void begin(void)
{
	client_begin(message);
	result = 0;
}

#define NOBODY                                                                                     \
	{                                                                                          \
		.in = {.sin_family = AF_INET }                                                     \
	}

static const struct addr nobody = NOBODY;

static struct addr loopback(sa_family_t family)
{
	return family == AF_INET6 ? addr_v6(&in6addr_loopback, 0) : addr_v4(INADDR_LOOPBACK, 0);
}

/* A socket at the loopback address, and where it is. */
static int peer_at(sa_family_t family, struct addr *a)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*a = loopback(family);
	assert_int_equal(bind(fd, &a->sa, addr_len(a)), 0);
	assert_int_equal(addr_of_socket(fd, a), 0);
	return fd;
}

static struct msg open_udp(enum proto_family family, struct addr at)
{
	return (struct msg){
		.type = MSG_udp_open,
		.id = CHANNEL,
		.udp_open = { .mode = INCOMING_OFF, .family = family, .bind = at },
	};
}

static struct msg take_udp(enum incoming_mode mode)
{
	struct msg m = open_udp(PROTO_IPV4, addr_v4(INADDR_ANY, 53));

	m.udp_open.mode = mode;
	return m;
}

static struct msg to(struct addr peer, const void *p, size_t n)
{
	return (struct msg){
		.type = MSG_datagram,
		.id = CHANNEL,
		.datagram = { .peer = peer, .bytes = { p, (uint32_t)n } },
	};
}

static struct msg connect_udp(struct addr peer)
{
	return (struct msg){
		.type = MSG_udp_connect,
		.id = CHANNEL,
		.udp_connect.peer = peer,
	};
}

/* What the peer receives, once it is there. */
static ssize_t received(int fd, void *p, size_t n, struct addr *from)
{
	socklen_t len = sizeof(*from);
	ssize_t got = -1;

	run_until(&loop, (got = recvfrom(fd, p, n, MSG_DONTWAIT, &from->sa, &len)) >= 0);
	*from = addr_unmap(from);
	return got;
}

/* One socket, several peers, both families; each sees the same source, and answers it. */
static void datagrams_go_to_several_peers_and_come_back(void **state)
{
	struct addr a, b, from, source;
	int one = peer_at(AF_INET, &a), two = peer_at(AF_INET6, &b);
	char got[16];

	(void)state;
	begin();
	say(open_udp(PROTO_IPV6, addr_v6(&in6addr_any, 0)));
	await("udp_opened(0) ");
	say(to(a, "one", 3));
	say(to(b, "three", 5));
	assert_int_equal(received(one, got, sizeof(got), &source), 3);
	assert_int_equal(received(two, got, sizeof(got), &from), 5);
	assert_int_equal(addr_port(&from), addr_port(&source));

	sendto(one, "1", 1, 0, &source.sa, addr_len(&source));
	await("datagram(1) ");
	assert_true(addr_equal(&last[MSG_datagram].datagram.peer, &a));
	assert_int_equal(last[MSG_datagram].datagram.peer.sa.sa_family, AF_INET);
	sendto(two, "", 0, 0, &from.sa, addr_len(&from));
	await("datagram(0) ");
	assert_true(addr_equal(&last[MSG_datagram].datagram.peer, &b));
	client_end();
	close(one);
	close(two);
}

static void sizes_up_to_the_largest_are_kept(void **state)
{
	static const size_t sizes[] = { 0, 1, 1500, 65507 };
	static uint8_t out[PROTO_DATAGRAM_MAX], in[PROTO_DATAGRAM_MAX];
	struct addr a, from;
	int peer = peer_at(AF_INET, &a);
	uint64_t seed = 1;
	char words[32];

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)unit_random(&seed);
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	await("udp_opened(0) ");
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		say(to(a, out, sizes[i]));
		assert_int_equal(received(peer, in, sizeof(in), &from), sizes[i]);
		assert_memory_equal(in, out, sizes[i]);
		nbytes = 0;
		assert_int_equal(
			sendto(peer, out, sizes[i], 0, &from.sa, addr_len(&from)), sizes[i]);
		snprintf(words, sizeof(words), "datagram(%zu) ", sizes[i]);
		await(words);
		assert_memory_equal(bytes, out, sizes[i]);
	}
	say(to(a, out, 65508));
	await("udp_error(90) "); /* EMSGSIZE */
	assert_true(addr_equal(&last[MSG_udp_error].udp_error.peer, &a));
	client_end();
	close(peer);
}

static void a_connected_socket_hears_of_refusals_once(void **state)
{
	struct addr closed, local;
	int holder = peer_at(AF_INET, &closed);

	(void)state;
	close(holder);
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	say(connect_udp(closed));
	await("udp_opened(0) udp_connected(0) ");
	local = last[MSG_udp_connected].udp_connected.local;
	assert_true(addr_is_loopback(&local));
	say(to(closed, "x", 1));
	await("udp_error(111) ");
	assert_true(addr_equal(&last[MSG_udp_error].udp_error.peer, &closed));
	await("");

	/* Disconnected, it hears of none. */
	say(connect_udp(nobody));
	await("udp_connected(0) ");
	say(to(closed, "x", 1));
	unit_run(&loop, 1);
	await("");
	client_end();
}

static void a_connected_socket_takes_datagrams_of_its_peer_only(void **state)
{
	struct addr a, b, from;
	int one = peer_at(AF_INET, &a), two = peer_at(AF_INET, &b);
	char got[4];

	(void)state;
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	say(connect_udp(a));
	say(to(a, "hi", 2));
	await("udp_opened(0) udp_connected(0) ");
	assert_int_equal(received(one, got, sizeof(got), &from), 2);
	sendto(two, "not you", 7, 0, &from.sa, addr_len(&from));
	sendto(one, "you", 3, 0, &from.sa, addr_len(&from));
	await("datagram(3) ");
	client_end();
	close(one);
	close(two);
}

static void the_kernels_own_errno_comes_back(void **state)
{
	struct addr taken;
	int holder = peer_at(AF_INET, &taken);
	const struct {
		struct msg open, then;
		const char *hears;
	} cases[] = {
		{ open_udp(PROTO_IPV4, taken), { 0 }, "udp_opened(98) " },
		{ open_udp(PROTO_IPV4, addr_v4(0xc0000201, 0)), { 0 }, "udp_opened(99) " },
		{ take_udp(INCOMING_STEAL), { 0 }, "udp_opened(98) " },
		{ take_udp(INCOMING_MIRROR), { 0 }, "udp_opened(1) " },
		{ open_udp(PROTO_IPV4, nobody), to(addr_v4(INADDR_LOOPBACK, 0), "", 0),
			"udp_opened(0) udp_error(22) " },
		{ open_udp(PROTO_IPV4, nobody), connect_udp(loopback(AF_INET6)),
			"udp_opened(0) udp_connected(97) " },
		{ open_udp(PROTO_IPV6, loopback(AF_INET6)), connect_udp(taken),
			"udp_opened(0) udp_connected(101) " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		say(cases[i].open);
		if (cases[i].then.type)
			say(cases[i].then);
		await(cases[i].hears);
		client_end();
	}
	close(holder);
}

/* More than the window in all: credit comes back. */
static void credit_comes_back_for_each_datagram(void **state)
{
	static uint8_t out[1000];
	struct addr a, from;
	int peer = peer_at(AF_INET, &a);

	(void)state;
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	await("udp_opened(0) ");
	for (uint32_t cost = 0; cost < 2 * PROTO_WINDOW; cost += PROTO_MESSAGE_COST(sizeof(out))) {
		say(to(a, out, sizeof(out)));
		received(peer, out, sizeof(out), &from);
	}
	hear();
	assert_non_null(strstr(heard, "credit credit credit"));
	assert_false(client_lost);
	client_end();
	close(peer);
}

/* A client that gives no credit back: what does not fit is dropped, and the link lives. */
static void what_the_client_does_not_take_is_dropped(void **state)
{
	static uint8_t out[60000];
	struct addr a, from;
	int peer = peer_at(AF_INET, &a);

	(void)state;
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	say(to(a, "x", 1));
	await("udp_opened(0) ");
	received(peer, out, sizeof(out), &from);
	for (uint32_t sent = 0; sent < 2 * PROTO_WINDOW; sent += sizeof(out)) {
		sendto(peer, out, sizeof(out), 0, &from.sa, addr_len(&from));
		unit_run(&loop, 0);
		hear();
	}
	assert_true(nbytes > PROTO_WINDOW / 2);
	assert_true(nbytes <= PROTO_WINDOW);
	assert_false(client_lost);
	heard[0] = '\0';
	say((struct msg){ .type = MSG_reset, .id = CHANNEL });
	run_until(&loop, mux.channels.count == 0);
	client_end();
	close(peer);
}

static void what_no_honest_client_asks_is_refused(void **state)
{
	static const struct {
		const char *what;
		uint32_t id;
		struct msg_udp_open open;
	} cases[] = {
		{ "a channel of the agent's", 7, { INCOMING_OFF, 4, NOBODY } },
		{ "no family", CHANNEL, { INCOMING_OFF, 0, NOBODY } },
		{ "an unknown mode", CHANNEL, { INCOMING_MODE_MAX, 4, NOBODY } },
		{ "stealing no port", CHANNEL, { INCOMING_STEAL, 4, NOBODY } },
		{ "an address of another family", CHANNEL,
			{ INCOMING_OFF, 4, { .in6 = { .sin6_family = AF_INET6 } } } },
	};
	static const struct msg unwanted[] = {
		{ .type = MSG_data, .id = CHANNEL, .data.bytes = { "x", 1 } },
		{ .type = MSG_eof, .id = CHANNEL },
		{ .type = MSG_packet, .id = CHANNEL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		say((struct msg){
			.type = MSG_udp_open, .id = cases[i].id, .udp_open = cases[i].open });
		unit_run(&loop, 1);
		if (result != -EPROTO || *hear())
			fail_msg("%s: %d, heard %s", cases[i].what, result, heard);
		client_end();
	}
	for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++) {
		begin();
		say(open_udp(PROTO_IPV4, nobody));
		say(unwanted[i]);
		run_until(&loop, client_lost);
		client_end();
	}
	begin();
	say(open_udp(PROTO_IPV4, nobody));
	say(open_udp(PROTO_IPV4, nobody));
	run_until(&loop, result == -EPROTO);
	client_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(datagrams_go_to_several_peers_and_come_back),
		cmocka_unit_test(sizes_up_to_the_largest_are_kept),
		cmocka_unit_test(a_connected_socket_hears_of_refusals_once),
		cmocka_unit_test(a_connected_socket_takes_datagrams_of_its_peer_only),
		cmocka_unit_test(the_kernels_own_errno_comes_back),
		cmocka_unit_test(credit_comes_back_for_each_datagram),
		cmocka_unit_test(what_the_client_does_not_take_is_dropped),
		cmocka_unit_test(what_no_honest_client_asks_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Connections that a client asks the agent for, to real sockets of this namespace. */
#include "agent/drain.c"
#include "agent/outgoing.c"

#include "agent_client.h"

static struct drain drain;
static struct target target;
static int result; /* of the last outgoing_connect() */

static void message(struct mux *m, const struct msg *msg)
{
	result = outgoing_connect(&drain, m, &target, msg);
}

static void begin(void)
{
	client_begin(message);
	drain_init(&drain, &loop);
	result = 0;
}

static void end(void)
{
	client_end();
	assert_int_equal(drain.live, 0);
	drain_done(&drain);
}

static struct addr loopback(sa_family_t family, uint16_t port)
{
	return family == AF_INET6 ? addr_v6(&in6addr_loopback, port)
				  : addr_v4(INADDR_LOOPBACK, port);
}

/* A listening socket at the loopback address, and where it is. */
static int listen_at(sa_family_t family, struct addr *a)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = loopback(family, 0);
	assert_int_equal(bind(fd, &a->sa, addr_len(a)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(addr_of_socket(fd, a), 0);
	return fd;
}

/* A port that nobody listens at, and nobody will while fd is open. */
static int closed_port(struct addr *a)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = loopback(AF_INET, 0);
	assert_int_equal(bind(fd, &a->sa, addr_len(a)), 0);
	assert_int_equal(addr_of_socket(fd, a), 0);
	return fd;
}

static struct msg connect_to(struct addr peer, struct addr local)
{
	return (struct msg){
		.type = MSG_connect,
		.id = CHANNEL,
		.connect = { .kind = CONNECT_TCP, .peer = peer, .bind = local },
	};
}

static struct msg data_of(const char *text)
{
	return (struct msg){ .type = MSG_data, .id = CHANNEL, .data.bytes = span_of(text) };
}

static void a_connection_is_made_used_and_ended(void **state)
{
	static const sa_family_t families[] = { AF_INET, AF_INET6 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct addr at, local, peer;
		int listener = listen_at(families[i], &at), fd;
		char got[16];

		begin();
		say(connect_to(at, addr_v4(INADDR_ANY, 0)));
		await("connecting connected(0) ");
		fd = accept(listener, NULL, NULL);
		assert_int_equal(addr_of_peer(fd, &peer), 0);
		local = last[MSG_connected].connected.local;
		assert_true(addr_equal(&peer, &local));
		local = last[MSG_connecting].connecting.local;
		assert_true(addr_equal(&peer, &local));

		say(data_of("ping"));
		unit_run(&loop, 1);
		assert_int_equal(recv(fd, got, sizeof(got), 0), 4);
		assert_int_equal(send(fd, "pong!", 5, 0), 5);
		close_fd(&fd);
		await("eof ");
		assert_int_equal(nbytes, 5);
		say((struct msg){ .type = MSG_eof, .id = CHANNEL });
		run_until(&loop, drain.live == 0);
		end();
		close(listener);
	}
}

static void an_address_of_its_own_is_bound_first(void **state)
{
	struct addr at, mine, local;
	int listener = listen_at(AF_INET, &at), taken = closed_port(&mine);

	(void)state;
	close(taken);
	begin();
	say(connect_to(at, mine));
	await("connecting connected(0) ");
	local = last[MSG_connected].connected.local;
	assert_true(addr_equal(&mine, &local));
	end();

	/* The address alone; and a port at the wildcard of the other family. */
	begin();
	mine = addr_v4(INADDR_LOOPBACK + 1, 0);
	say(connect_to(at, mine));
	await("connecting connected(0) ");
	local = last[MSG_connected].connected.local;
	assert_true(addr_same_ip(&mine, &local));
	end();

	begin();
	close(closed_port(&mine));
	say(connect_to(at, addr_v6(&in6addr_any, addr_port(&mine))));
	await("connecting connected(0) ");
	local = last[MSG_connected].connected.local;
	assert_true(addr_equal(&mine, &local));
	end();
	close(listener);
}

static void the_kernels_own_errno_comes_back(void **state)
{
	const struct in6_addr nowhere = { .s6_addr = { 0xfe, 0x80, [15] = 1 } };
	struct addr closed, listening;
	int holder = closed_port(&closed), listener = listen_at(AF_INET, &listening);
	const struct {
		struct addr peer, bind;
		const char *hears;
	} cases[] = {
		{ closed, addr_v4(INADDR_ANY, 0), "connecting connected(111) " },
		{ addr_v4(INADDR_BROADCAST, 9), addr_v4(INADDR_ANY, 0), "connected(101) " },
		{ addr_v6(&nowhere, 9), addr_v4(INADDR_ANY, 0), "connected(22) " }, /* no scope */
		{ closed, addr_v4(0xc0000201, 0), "connected(99) " }, /* not our address */
		{ closed, listening, "connected(98) " },              /* in use */
		{ closed, addr_v6(&in6addr_loopback, 0), "connected(101) " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		say(connect_to(cases[i].peer, cases[i].bind));
		await(cases[i].hears);
		assert_int_equal(mux.channels.count, 0);
		end();
	}
	close(holder);
	close(listener);
}

/* A listener whose queue is full answers no SYN: connecting never ends by itself. */
static void a_reset_ends_it_while_it_is_connecting(void **state)
{
	struct addr at;
	int listener = listen_at(AF_INET, &at), fd;

	(void)state;
	assert_int_equal(listen(listener, 0), 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, &at.sa, addr_len(&at)), 0);
	begin();
	say(connect_to(at, addr_v4(INADDR_ANY, 0)));
	await("connecting ");
	assert_int_equal(drain.live, 1);
	say((struct msg){ .type = MSG_reset, .id = CHANNEL });
	run_until(&loop, drain.live == 0);
	await("");
	end();
	close(fd);
	close(listener);
}

static void what_no_honest_client_asks_is_refused(void **state)
{
	static const struct {
		const char *what;
		uint32_t id;
		uint8_t kind;
	} cases[] = {
		{ "a channel of the agent's", 7, CONNECT_TCP },
		{ "no kind", CHANNEL, 0 },
		{ "a kind that is not there", CHANNEL, CONNECT_KIND_MAX },
		{ "the greatest kind", CHANNEL, UINT8_MAX },
	};
	struct addr at;
	int listener = listen_at(AF_INET, &at);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct msg m = connect_to(at, addr_v4(INADDR_ANY, 0));

		begin();
		m.id = cases[i].id;
		m.connect.kind = cases[i].kind;
		say(m);
		unit_run(&loop, 1);
		if (result != -EPROTO || *hear())
			fail_msg("%s: %d, heard %s", cases[i].what, result, heard);
		end();
	}
	begin();
	say(connect_to(at, addr_v4(INADDR_ANY, 0)));
	await("connecting connected(0) ");
	say(connect_to(at, addr_v4(INADDR_ANY, 0)));
	run_until(&loop, result == -EPROTO);
	end();
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_connection_is_made_used_and_ended),
		cmocka_unit_test(an_address_of_its_own_is_bound_first),
		cmocka_unit_test(the_kernels_own_errno_comes_back),
		cmocka_unit_test(a_reset_ends_it_while_it_is_connecting),
		cmocka_unit_test(what_no_honest_client_asks_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

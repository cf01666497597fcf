/* Connections that a client asks the agent for, to real sockets of this namespace. */
#include "agent/creds.c"
#include "agent/drain.c"
#include "agent/outgoing.c"
#include "agent/resolve.c"
#include "agent/target.c"

#include "agent_client.h"

static struct drain drain;
static struct target target = TARGET_NONE;
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

/* --- unix sockets --- */

static char dir[] = "/tmp/mirrord-trace-unix-XXXXXX";

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	target.root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return target.root < 0 ? -1 : 0;
}

static int remove_dir(void **state)
{
	(void)state;
	unlinkat(target.root, "s", 0);
	unlinkat(target.root, "seen", 0);
	target_close(&target);
	return rmdir(dir);
}

/* Listen at /s beneath the target's root, or at an abstract name. */
static int listen_unix(int type, const char *path, size_t len, int backlog)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	if (path[0]) {
		len = (size_t)snprintf(at.sun_path, sizeof(at.sun_path), "%s%s", dir, path);
		unlink(at.sun_path);
	} else {
		memcpy(at.sun_path, path, len);
	}
	len += offsetof(struct sockaddr_un, sun_path);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, (socklen_t)len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static struct msg connect_to_unix(enum connect_kind kind, const char *path, size_t len)
{
	return (struct msg){
		.type = MSG_connect,
		.id = CHANNEL,
		.connect = { .kind = kind, .path = { path, (uint32_t)len } },
	};
}

static void unix_sockets_of_both_kinds_and_names_are_reached(void **state)
{
	static const struct {
		enum connect_kind kind;
		int type;
		const char *path;
		size_t len;
	} cases[] = {
		{ CONNECT_UNIX_STREAM, SOCK_STREAM, "/s", 2 },
		{ CONNECT_UNIX_SEQPACKET, SOCK_SEQPACKET, "/s", 2 },
		{ CONNECT_UNIX_STREAM, SOCK_STREAM, "\0mirrord-trace/test/a", 21 },
		{ CONNECT_UNIX_SEQPACKET, SOCK_SEQPACKET, "\0mirrord-trace/test/b", 21 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool whole = cases[i].type == SOCK_SEQPACKET;
		int listener = listen_unix(cases[i].type, cases[i].path, cases[i].len, 8), fd;
		char got[16];

		begin();
		say(connect_to_unix(cases[i].kind, cases[i].path, cases[i].len));
		await("connected(0) ");
		fd = accept(listener, NULL, NULL);
		if (whole)
			say((struct msg){
				.type = MSG_packet, .id = CHANNEL, .packet.bytes = { "ping", 4 } });
		else
			say(data_of("ping"));
		unit_run(&loop, 1);
		assert_int_equal(recv(fd, got, sizeof(got), 0), 4);
		send(fd, "pong!", 5, 0);
		close(fd);
		await(whole ? "packet(0,5) eof " : "eof ");
		assert_int_equal(nbytes, 5);
		say((struct msg){ .type = MSG_eof, .id = CHANNEL });
		run_until(&loop, drain.live == 0);
		end();
		close(listener);
	}
}

static void unix_failures_are_the_kernels_own(void **state)
{
	static const struct {
		enum connect_kind kind;
		const char *path;
		size_t len;
		const char *hears;
	} cases[] = {
		{ CONNECT_UNIX_STREAM, "/none", 5, "connected(2) " },
		{ CONNECT_UNIX_STREAM, "/s/x", 4, "connected(20) " },
		{ CONNECT_UNIX_STREAM, "/s", 2, "connected(91) " }, /* EPROTOTYPE */
		{ CONNECT_UNIX_STREAM, "/", 1, "connected(111) " },
		{ CONNECT_UNIX_STREAM, "\0nobody", 7, "connected(111) " },
	};
	int listener = listen_unix(SOCK_SEQPACKET, "/s", 2, 8);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		begin();
		say(connect_to_unix(cases[i].kind, cases[i].path, cases[i].len));
		await(cases[i].hears);
		end();
	}
	close(listener);
}

/* To connect is to write to the socket's file, which the target's process may not do with this one.
 */
static void a_unix_socket_is_connected_to_as_the_target(void **state)
{
	int listener = listen_unix(SOCK_STREAM, "/s", 2, 8);
	struct creds user = { .foreign = true, .uid = 1234, .gid = 1234 };

	(void)state;
	assert_int_equal(fchmodat(target.root, "s", 0700, 0), 0);
	begin();
	creds_adopt(&user);
	assert_int_equal(user.error, 0);
	target.creds = user;
	say(connect_to_unix(CONNECT_UNIX_STREAM, "/s", 2));
	await("connected(13) ");
	target.creds = (struct creds){ 0 };
	say(connect_to_unix(CONNECT_UNIX_STREAM, "/s", 2));
	await("connected(0) ");
	end();
	close(listener);
}

/* Many a server lets root do what it does not let others. */
static void the_server_of_a_unix_socket_sees_the_target(void **state)
{
	static const struct {
		const char *path;
		size_t len;
	} cases[] = { { "/seen", 5 }, { "\0seen", 5 } };

	(void)state;
	assert_int_equal(fchmodat(target.root, ".", 0755, 0), 0);
	target.creds = (struct creds){ .foreign = true, .uid = 1234, .gid = 1235 };
	creds_adopt(&target.creds);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int listener = listen_unix(SOCK_STREAM, cases[i].path, cases[i].len, 8), fd;
		struct ucred peer;
		socklen_t len = sizeof(peer);

		if (i == 0)
			assert_int_equal(fchmodat(target.root, "seen", 0777, 0), 0);
		begin();
		say(connect_to_unix(CONNECT_UNIX_STREAM, cases[i].path, cases[i].len));
		await("connected(0) ");
		fd = accept(listener, NULL, NULL);
		assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
		assert_int_equal(peer.uid, 1234);
		assert_int_equal(peer.gid, 1235);
		close(fd);
		end();
		close(listener);
	}
	target.creds = (struct creds){ 0 };
}

static void a_full_unix_listener_is_waited_for(void **state)
{
	int listener = listen_unix(SOCK_STREAM, "/s", 2, 0), first;

	(void)state;
	begin();
	say(connect_to_unix(CONNECT_UNIX_STREAM, "/s", 2));
	await("connected(0) ");
	say((struct msg){ .type = MSG_connect,
		.id = CHANNEL + 1,
		.connect = { .kind = CONNECT_UNIX_STREAM, .path = { "/s", 2 } } });
	await("connecting ");
	assert_int_equal(drain.live, 2);
	first = accept(listener, NULL, NULL);
	await("connected(0) ");
	end();
	close(first);
	close(listener);
}

/* An empty packet is one; a long one comes in fragments and is whole again. */
static void packets_keep_their_boundaries(void **state)
{
	static const size_t sizes[] = { 1, 0, 65536, 65537, PACKETS_MAX };
	static uint8_t out[PACKETS_MAX], in[PACKETS_MAX + 1];
	int listener = listen_unix(SOCK_SEQPACKET, "/s", 2, 8), fd;
	uint64_t seed = 1;

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)unit_random(&seed);
	begin();
	say(connect_to_unix(CONNECT_UNIX_SEQPACKET, "/s", 2));
	await("connected(0) ");
	fd = accept(listener, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct msg m = { .type = MSG_packet, .id = CHANNEL };
		size_t done = 0, n = sizes[i];
		ssize_t got = -1;

		do {
			m.packet.bytes.data = out + done;
			m.packet.bytes.len = (uint32_t)MIN(n - done, (size_t)PROTO_DATA_MAX);
			done += m.packet.bytes.len;
			m.packet.more = done < n;
			say(m);
		} while (done < n);
		run_until(&loop, (got = recv(fd, in, sizeof(in), MSG_DONTWAIT)) >= 0);
		assert_int_equal(got, n);
		assert_memory_equal(in, out, n);

		nbytes = 0;
		last[MSG_packet] = (struct msg){ .packet.more = 1 };
		assert_int_equal(send(fd, out, n, 0), n);
		run_until(&loop, hear() && !last[MSG_packet].packet.more);
		assert_int_equal(nbytes, n);
		assert_memory_equal(bytes, out, n);
	}
	assert_null(strstr(heard, "eof"));
	heard[0] = '\0';
	close(fd);
	await("eof ");
	end();
	close(listener);
}

/* A client that gives no credit back gets one window of packets, and the rest later. */
static void packets_wait_for_credit(void **state)
{
	static uint8_t out[100000];
	int listener = listen_unix(SOCK_SEQPACKET, "/s", 2, 8), fd;
	const size_t total = 30 * sizeof(out);
	size_t sent = 0, given = 0, all = 0;

	(void)state;
	begin();
	say(connect_to_unix(CONNECT_UNIX_SEQPACKET, "/s", 2));
	await("connected(0) ");
	fd = accept(listener, NULL, NULL);
	while (all < total) {
		if (sent < total && send(fd, out, sizeof(out), MSG_DONTWAIT) > 0)
			sent += sizeof(out);
		unit_run(&loop, 1);
		nbytes = 0;
		hear();
		heard[0] = '\0';
		all += nbytes;
		assert_true(all <= PROTO_WINDOW + given);
		if (all + 70000 > PROTO_WINDOW + given) {
			say((struct msg){ .type = MSG_credit,
				.id = CHANNEL,
				.credit.bytes = PROTO_WINDOW / 2 });
			given += PROTO_WINDOW / 2;
		}
	}
	assert_int_equal(all, total);
	assert_false(client_lost);
	end();
	close(fd);
	close(listener);
}

static void hostile_packets_end_the_channel_or_the_link(void **state)
{
	static uint8_t out[PROTO_DATA_MAX];
	const struct msg part = {
		.type = MSG_packet,
		.id = CHANNEL,
		.packet = { .more = 1, .bytes = { out, sizeof(out) } },
	};
	int listener = listen_unix(SOCK_SEQPACKET, "/s", 2, 8);

	(void)state;
	begin();
	say(connect_to_unix(CONNECT_UNIX_SEQPACKET, "/s", 2));
	await("connected(0) ");
	for (size_t n = 0; n <= PACKETS_MAX; n += sizeof(out))
		say(part);
	await("reset(90) "); /* EMSGSIZE */
	end();

	begin();
	say(connect_to_unix(CONNECT_UNIX_SEQPACKET, "/s", 2));
	say(part);
	say((struct msg){ .type = MSG_eof, .id = CHANNEL });
	await("reset(71) "); /* EPROTO */
	end();

	begin();
	say(connect_to_unix(CONNECT_UNIX_SEQPACKET, "/s", 2));
	say(data_of("x"));
	run_until(&loop, client_lost);
	end();
	close(listener);
}

/* --- hostile clients --- */

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
		{ "no path", CHANNEL, CONNECT_UNIX_STREAM },
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
		cmocka_unit_test(unix_sockets_of_both_kinds_and_names_are_reached),
		cmocka_unit_test(unix_failures_are_the_kernels_own),
		cmocka_unit_test(a_unix_socket_is_connected_to_as_the_target),
		cmocka_unit_test(the_server_of_a_unix_socket_sees_the_target),
		cmocka_unit_test(a_full_unix_listener_is_waited_for),
		cmocka_unit_test(packets_keep_their_boundaries),
		cmocka_unit_test(packets_wait_for_credit),
		cmocka_unit_test(hostile_packets_end_the_channel_or_the_link),
		cmocka_unit_test(what_no_honest_client_asks_is_refused),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

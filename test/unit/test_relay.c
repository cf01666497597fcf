#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "relay.h"
#include "unit.h"

#define RELAYS  200
#define BULK    (64u << 20)
#define PACKETS 20000

/* --- two muxes, and relays between TCP connections --- */

/* app ── fd, relay ── channel: the test holds app, the relay the other end. */
struct half {
	struct relay relay;
	int app;
	unsigned overs;
	int error;
};

struct pair {
	struct half a, b;
};

static struct loop loop;
static struct mux client, agent;
static unsigned lost;
static struct pair pairs[RELAYS];

static void ignore_message(struct mux *mux, const struct msg *m)
{
	(void)mux;
	(void)m;
}

static void count_lost(struct mux *mux, int error, const char *why)
{
	(void)mux;
	(void)error;
	(void)why;
	lost++;
}

static const struct mux_ops mux_ops = { .message = ignore_message, .lost = count_lost };

static void half_over(struct relay *r, int error)
{
	struct half *h = container_of(r, struct half, relay);

	h->overs++;
	h->error = error;
}

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	lost = 0;
	memset(pairs, 0, sizeof(pairs));
	for (size_t i = 0; i < RELAYS; i++)
		pairs[i].a.app = pairs[i].b.app = -1;
	if (loop_init(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	if (mux_init(&client, &loop, fds[0], PROTO_CLIENT, &mux_ops) < 0)
		return -1;
	return mux_init(&agent, &loop, fds[1], PROTO_AGENT, &mux_ops);
}

static int tear_down(void **state)
{
	(void)state;
	mux_done(&client);
	mux_done(&agent);
	loop_done(&loop);
	for (size_t i = 0; i < RELAYS; i++) {
		close_fd(&pairs[i].a.app);
		close_fd(&pairs[i].b.app);
	}
	return 0;
}

/* A TCP socket that listens on loopback, and where. */
static int listener(struct addr *at)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct addr any = addr_v4(INADDR_LOOPBACK, 0);

	assert_int_equal(bind(fd, &any.sa, addr_len(&any)), 0);
	assert_int_equal(listen(fd, RELAYS), 0);
	assert_int_equal(addr_of_socket(fd, at), 0);
	return fd;
}

static int connecting_socket(const struct addr *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (connect(fd, &to->sa, addr_len(to)) < 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

static void half_start(struct half *h, struct mux *mux, uint32_t id)
{
	struct addr at;
	cleanup_fd int l = listener(&at);
	int fd = connecting_socket(&at);

	h->app = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(h->app >= 0);
	assert_int_equal(relay_start(&h->relay, &loop, mux, id, fd, false, half_over), 0);
}

static struct pair *pair_start(uint32_t id)
{
	struct pair *p = &pairs[id];

	half_start(&p->a, &client, id);
	half_start(&p->b, &agent, id);
	return p;
}

static bool is_over(const struct half *h)
{
	return h->overs;
}

/* The relays are over, once, with this error. */
static void assert_over(struct half *h, int error)
{
	run_until(&loop, is_over(h));
	unit_run(&loop, 1);
	assert_int_equal(h->overs, 1);
	assert_int_equal(h->error, error);
	assert_int_equal(h->relay.watch.fd, -1);
	assert_null(h->relay.ch.mux);
}

/* --- what the applications do --- */

static void app_send(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* The next len bytes are the text. */
static void app_expect(int fd, const char *text)
{
	char got[64];
	size_t n = 0;

	while (n < strlen(text)) {
		ssize_t r = recv(fd, got + n, strlen(text) - n, 0);

		if (r < 0 && errno == EAGAIN)
			unit_run(&loop, 1);
		else
			assert_true(r > 0);
		n += r > 0 ? (size_t)r : 0;
	}
	assert_memory_equal(got, text, n);
}

/* What comes next is an end of file (0) or this error. */
static void app_expect_end(int fd, int error)
{
	ssize_t r;
	char c;

	while ((r = recv(fd, &c, 1, 0)) < 0 && errno == EAGAIN)
		unit_run(&loop, 1);
	assert_int_equal(r, error ? -1 : 0);
	if (error)
		assert_int_equal(errno, error);
}

static void app_reset(int *fd)
{
	struct linger now = { .l_onoff = 1 };

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close_fd(fd);
}

/* A stream of numbered bytes, written or read without waiting. */
struct stream {
	uint64_t at, end;
};

static bool stream_write(int fd, struct stream *s)
{
	uint8_t bytes[32768];
	size_t n = MIN(s->end - s->at, (uint64_t)sizeof(bytes));
	ssize_t r;

	for (size_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)((s->at + i) * 167 >> 3);
	r = n ? send(fd, bytes, n, MSG_NOSIGNAL) : 0;
	s->at += r > 0 ? (uint64_t)r : 0;
	return r > 0;
}

static bool stream_read(int fd, struct stream *s)
{
	uint8_t bytes[32768];
	ssize_t r = recv(fd, bytes, sizeof(bytes), 0);

	for (ssize_t i = 0; i < r; i++)
		if (bytes[i] != (uint8_t)((s->at + (uint64_t)i) * 167 >> 3))
			fail_msg("byte %llu is wrong", (unsigned long long)s->at + (size_t)i);
	s->at += r > 0 ? (uint64_t)r : 0;
	return r > 0;
}

/* --- the end of a connection --- */

static void each_direction_ends_by_itself(void **state)
{
	for (int turned = 0; turned < 2; turned++) {
		struct pair *p = pair_start((uint32_t)turned);
		struct half *a = turned ? &p->b : &p->a, *b = turned ? &p->a : &p->b;

		(void)state;
		app_send(a->app, "request");
		shutdown(a->app, SHUT_WR);
		app_expect(b->app, "request");
		app_expect_end(b->app, 0);
		app_send(b->app, "answer");
		app_expect(a->app, "answer");
		app_send(b->app, "more");
		close_fd(&b->app);
		app_expect(a->app, "more");
		app_expect_end(a->app, 0);
		assert_over(a, 0);
		assert_over(b, 0);
	}
}

static void bytes_before_a_reset_are_delivered(void **state)
{
	for (int turned = 0; turned < 2; turned++) {
		struct pair *p = pair_start((uint32_t)turned);
		struct half *a = turned ? &p->b : &p->a, *b = turned ? &p->a : &p->b;

		(void)state;
		app_send(a->app, "last words");
		app_reset(&a->app);
		app_expect(b->app, "last words");
		app_expect_end(b->app, ECONNRESET);
		assert_over(a, ECONNRESET);
		assert_over(b, ECONNRESET);
	}
}

static void a_reset_after_the_end_of_file_is_passed_on(void **state)
{
	struct pair *p = pair_start(1);

	(void)state;
	shutdown(p->a.app, SHUT_WR);
	app_expect_end(p->b.app, 0);
	app_reset(&p->a.app);
	assert_over(&p->a, ECONNRESET);
	assert_over(&p->b, ECONNRESET);
	assert_int_equal(send(p->b.app, "x", 1, MSG_NOSIGNAL), -1);
}

static void an_abort_resets_both_applications(void **state)
{
	struct pair *p = pair_start(1);

	(void)state;
	relay_abort(&p->a.relay, ETIMEDOUT);
	assert_over(&p->a, ETIMEDOUT);
	assert_over(&p->b, ETIMEDOUT);
	app_expect_end(p->a.app, ECONNRESET);
	app_expect_end(p->b.app, ECONNRESET);
}

static void a_lost_link_ends_every_relay_once(void **state)
{
	(void)state;
	for (uint32_t id = 0; id < 50; id++)
		pair_start(id);
	mux_done(&agent);
	run_until(&loop, lost == 1);
	for (uint32_t id = 0; id < 50; id++) {
		assert_over(&pairs[id].a, ENOTCONN);
		assert_over(&pairs[id].b, ENOTCONN);
		app_expect_end(pairs[id].a.app, ECONNRESET);
	}
}

/* An application that sent its last byte before the link was lost is heard to the end, also by a
 * peer that reads late. */
static void a_stream_that_had_ended_survives_the_link(void **state)
{
	struct pair *p = pair_start(0);
	static char bytes[PROTO_WINDOW / 2];
	size_t got = 0;
	ssize_t n;

	(void)state;
	for (size_t sent = 0; sent<sizeof(bytes); sent += n> 0 ? (size_t)n : 0) {
		n = send(p->a.app, bytes + sent, sizeof(bytes) - sent, MSG_NOSIGNAL);
		unit_run(&loop, 1);
	}
	shutdown(p->a.app, SHUT_WR);
	run_until(&loop, p->b.relay.ch.eof_received);
	mux_done(&client);
	run_until(&loop, lost == 1);
	while ((n = read(p->b.app, bytes, sizeof(bytes))) != 0) {
		if (n > 0)
			got += (size_t)n;
		else
			unit_run(&loop, 1);
	}
	assert_int_equal(got, sizeof(bytes));
	assert_over(&p->b, 0);
}

/* --- a relay whose socket is still connecting --- */

static void a_closed_port_is_a_refused_connection(void **state)
{
	struct pair *p = &pairs[0];
	struct addr at;

	(void)state;
	close(listener(&at));
	half_start(&p->a, &client, 0);
	assert_int_equal(
		relay_start(&p->b.relay, &loop, &agent, 0, connecting_socket(&at), true, half_over),
		0);
	assert_over(&p->b, ECONNREFUSED);
	assert_over(&p->a, ECONNREFUSED);
	app_expect_end(p->a.app, ECONNRESET);
}

/* Start a pair whose side b connects only after all that app a did has arrived. */
static struct pair *early_start(int *l)
{
	struct pair *p = &pairs[0];
	struct addr at;

	*l = listener(&at);
	half_start(&p->a, &client, 0);
	assert_int_equal(
		relay_start(&p->b.relay, &loop, &agent, 0, connecting_socket(&at), true, half_over),
		0);
	loop_set(&loop, &p->b.relay.watch, 0);
	return p;
}

static void bytes_wait_for_the_connection(void **state)
{
	int l;
	struct pair *p = early_start(&l);

	(void)state;
	app_send(p->a.app, "early");
	shutdown(p->a.app, SHUT_WR);
	run_until(&loop, p->b.relay.ch.eof_received);
	p->b.app = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(l);
	app_expect(p->b.app, "early");
	app_expect_end(p->b.app, 0);
	close_fd(&p->b.app);
	assert_over(&p->a, 0);
	assert_over(&p->b, 0);
}

static void bytes_before_a_reset_wait_for_the_connection(void **state)
{
	int l;
	struct pair *p = early_start(&l);

	(void)state;
	app_send(p->a.app, "early");
	app_reset(&p->a.app);
	assert_over(&p->a, ECONNRESET);
	assert_over(&p->b, ECONNRESET);
	p->b.app = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	close(l);
	app_expect(p->b.app, "early");
	app_expect_end(p->b.app, ECONNRESET);
}

/* --- a relay that has no socket yet --- */

static struct pair *late_start(void)
{
	struct pair *p = &pairs[0];

	half_start(&p->a, &client, 0);
	assert_int_equal(relay_start(&p->b.relay, &loop, &agent, 0, -1, true, half_over), 0);
	return p;
}

/* The socket comes, and side b's application with it. */
static void late_connect(struct half *h)
{
	struct addr at;
	cleanup_fd int l = listener(&at);

	assert_int_equal(relay_connect(&h->relay, connecting_socket(&at)), 0);
	h->app = accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(h->app >= 0);
}

static void bytes_and_the_end_wait_for_the_socket(void **state)
{
	struct pair *p = late_start();

	(void)state;
	app_send(p->a.app, "early");
	shutdown(p->a.app, SHUT_WR);
	run_until(&loop, p->b.relay.ch.eof_received);
	assert_int_equal(p->b.overs, 0);
	late_connect(&p->b);
	app_expect(p->b.app, "early");
	app_expect_end(p->b.app, 0);
	app_send(p->b.app, "late");
	app_expect(p->a.app, "late");
	close_fd(&p->b.app);
	assert_over(&p->a, 0);
	assert_over(&p->b, 0);
}

static void a_window_of_bytes_waits_for_the_socket(void **state)
{
	struct pair *p = late_start();
	struct stream out = { .end = BULK }, got = { 0 };

	(void)state;
	for (int idle = 0; idle < 20;) {
		idle = stream_write(p->a.app, &out) ? 0 : idle + 1;
		unit_run(&loop, idle ? 1 : 0);
	}
	assert_int_equal(buf_len(&p->b.relay.pending), PROTO_WINDOW);
	late_connect(&p->b);
	while (got.at < out.at)
		if (!stream_read(p->b.app, &got))
			unit_run(&loop, 1);
	assert_int_equal(lost, 0);
}

static void a_reset_does_not_wait_for_the_socket(void **state)
{
	struct pair *p = late_start();

	(void)state;
	app_send(p->a.app, "early");
	app_reset(&p->a.app);
	assert_over(&p->a, ECONNRESET);
	assert_over(&p->b, ECONNRESET);
}

static void an_abort_does_not_wait_for_the_socket(void **state)
{
	struct pair *p = late_start();

	(void)state;
	relay_abort(&p->b.relay, ECONNREFUSED);
	assert_over(&p->b, ECONNREFUSED);
	assert_over(&p->a, ECONNREFUSED);
	app_expect_end(p->a.app, ECONNRESET);
}

static void a_late_socket_may_be_refused(void **state)
{
	struct pair *p = late_start();
	struct addr at;

	(void)state;
	close(listener(&at));
	assert_int_equal(relay_connect(&p->b.relay, connecting_socket(&at)), 0);
	assert_over(&p->b, ECONNREFUSED);
	assert_over(&p->a, ECONNREFUSED);
}

/* --- what a mirrored connection's server says --- */

static void replies_can_be_dropped(void **state)
{
	struct pair *p = pair_start(1);
	struct stream out = { .end = 8 << 20 };

	(void)state;
	p->a.relay.drop_replies = true;
	while (out.at < out.end)
		if (!stream_write(p->a.app, &out))
			unit_run(&loop, 1);
	app_send(p->b.app, "request");
	app_expect(p->a.app, "request");
	close_fd(&p->a.app);
	app_expect_end(p->b.app, 0);
	assert_int_equal(lost, 0);
}

/* --- much --- */

static void bulk_both_ways_at_once(void **state)
{
	struct stream up = { .end = BULK }, down = { .end = BULK }, got_up = { 0 },
		      got_down = { 0 };
	struct pair *p = pair_start(1);

	(void)state;
	while (got_up.at < BULK || got_down.at < BULK) {
		unsigned moved = stream_write(p->a.app, &up);

		moved += stream_write(p->b.app, &down);
		moved += stream_read(p->b.app, &got_up);
		moved += stream_read(p->a.app, &got_down);
		unit_run(&loop, moved ? 0 : 1);
	}
	close_fd(&p->a.app);
	app_expect_end(p->b.app, 0);
	close_fd(&p->b.app);
	assert_over(&p->a, 0);
	assert_over(&p->b, 0);
}

static void many_at_once(void **state)
{
	static struct stream up[RELAYS], down[RELAYS], got_up[RELAYS], got_down[RELAYS];
	uint64_t seed = 11;
	unsigned left = RELAYS;

	(void)state;
	for (uint32_t id = 0; id < RELAYS; id++) {
		pair_start(id);
		up[id] = (struct stream){ .end = 1 + unit_random(&seed) % 200000 };
		down[id] = (struct stream){ .end = 1 + unit_random(&seed) % 200000 };
		got_up[id] = got_down[id] = (struct stream){ 0 };
	}
	while (left) {
		left = 0;
		for (uint32_t id = 0; id < RELAYS; id++) {
			stream_write(pairs[id].a.app, &up[id]);
			stream_write(pairs[id].b.app, &down[id]);
			stream_read(pairs[id].b.app, &got_up[id]);
			stream_read(pairs[id].a.app, &got_down[id]);
			left += got_up[id].at < up[id].end || got_down[id].at < down[id].end;
		}
		unit_run(&loop, 0);
	}
	for (uint32_t id = 0; id < RELAYS; id++) {
		close_fd(&pairs[id].a.app);
		close_fd(&pairs[id].b.app);
		assert_over(&pairs[id].a, 0);
		assert_over(&pairs[id].b, 0);
	}
}

static void a_reader_that_stops_costs_bounded_memory(void **state)
{
	struct pair *p = pair_start(1), *q = pair_start(2);
	struct stream stuck = { .end = BULK }, other = { .end = 4 << 20 }, got = { 0 };
	int small = 65536;

	(void)state;
	setsockopt(p->b.app, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	for (int idle = 0; idle < 20;) {
		idle = stream_write(p->a.app, &stuck) ? 0 : idle + 1;
		unit_run(&loop, idle ? 1 : 0);
	}
	assert_true(stuck.at < BULK);
	assert_true(buf_len(&p->b.relay.pending) <= PROTO_WINDOW);
	assert_int_equal(channel_room(&p->a.relay.ch), 0);
	while (got.at < other.end) {
		stream_write(q->a.app, &other);
		stream_read(q->b.app, &got);
		unit_run(&loop, 0);
	}
	stuck.end = stuck.at;
	got.at = 0;
	while (got.at < stuck.end)
		if (!stream_read(p->b.app, &got))
			unit_run(&loop, 1);
}

/* --- a socket that is at its end while its channel has no room --- */

static unsigned events_seen;
static void (*real_event)(struct watch *w, uint32_t events);

static void counting_event(struct watch *w, uint32_t events)
{
	events_seen++;
	real_event(w, events);
}

static void ignore_data(struct channel *c, const uint8_t *p, size_t n)
{
	(void)c;
	(void)p;
	(void)n;
}

static void ignore_eof(struct channel *c)
{
	(void)c;
}

static void ignore_reset(struct channel *c, int error)
{
	(void)c;
	(void)error;
}

static const struct channel_ops hoarder = {
	.data = ignore_data,
	.eof = ignore_eof,
	.reset = ignore_reset,
	.writable = ignore_eof,
};

/* A relay that has used up its credit, with more still in its socket; side b gives none back. */
static struct half *full_start(struct channel *b)
{
	struct stream out = { .end = BULK };
	struct half *a = &pairs[0].a;
	int big = 1 << 20;

	assert_int_equal(channel_open(b, &agent, 0, &hoarder), 0);
	half_start(a, &client, 0);
	setsockopt(a->relay.watch.fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	while (out.at < PROTO_WINDOW + 50000)
		if (!stream_write(a->app, &out))
			unit_run(&loop, 1);
	run_until(&loop, !channel_room(&a->relay.ch));
	unit_run(&loop, 5);
	events_seen = 0;
	real_event = a->relay.watch.fn;
	a->relay.watch.fn = counting_event;
	return a;
}

static void a_socket_at_its_end_does_not_spin(void **state)
{
	static struct channel b;
	struct half *a = full_start(&b);

	(void)state;
	channel_eof(&b);
	run_until(&loop, a->relay.write_over);
	close_fd(&a->app);
	unit_run(&loop, 30);
	assert_true(events_seen < 10);
	assert_int_equal(a->overs, 0);
	channel_consumed(&b, PROTO_WINDOW);
	assert_over(a, 0);
	assert_true(b.eof_received);
}

static void bytes_before_a_reset_wait_for_room(void **state)
{
	static struct channel b;
	struct half *a = full_start(&b);

	(void)state;
	app_reset(&a->app);
	unit_run(&loop, 30);
	assert_true(events_seen < 10);
	assert_int_equal(a->overs, 0);
	channel_consumed(&b, PROTO_WINDOW);
	assert_over(a, ECONNRESET);
	assert_null(b.mux);
	assert_true(b.may_receive < PROTO_WINDOW);
}

/* --- packets --- */

static size_t packets_seen, packets_cost;

static void hoard_packet(struct channel *c, const struct msg *m)
{
	(void)c;
	packets_seen += !m->packet.more;
	packets_cost += PROTO_MESSAGE_COST(m->packet.bytes.len);
}

static const struct channel_ops packet_hoarder = {
	.data = ignore_data,
	.eof = ignore_eof,
	.reset = ignore_reset,
	.writable = ignore_eof,
	.message = hoard_packet,
};

static int post_packet(struct channel *c, bool more, size_t n)
{
	static const uint8_t bytes[PROTO_DATA_MAX];
	const struct msg m = {
		.type = MSG_packet,
		.id = c->id,
		.packet = { .more = more, .bytes = { bytes, (uint32_t)n } },
	};

	return channel_post(c, &m, n);
}

static struct half *packet_half_start(struct channel *b)
{
	struct half *a = &pairs[0].a;
	int fds[2];

	packets_seen = packets_cost = 0;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	a->app = fds[1];
	a->relay.seqpacket = true;
	assert_int_equal(channel_open(b, &agent, 0, &packet_hoarder), 0);
	assert_int_equal(relay_start(&a->relay, &loop, &client, 0, fds[0], false, half_over), 0);
	return a;
}

/* How many packets the application sends until nothing of them is taken any more. */
static size_t fill_with_packets(struct half *a)
{
	static const uint8_t bytes[50000];
	size_t sent = 0;

	do {
		unit_run(&loop, 5);
		while (send(a->app, bytes, sizeof(bytes), 0) > 0)
			sent++;
	} while (channel_room(&a->relay.ch) >= PROTO_MESSAGE_COST(0) &&
		 !buf_len(&a->relay.packets.rest));
	unit_run(&loop, 5);
	return sent;
}

/* The application has left a packet unread, so its end shows as an error; and the peer is in the
 * middle of another packet. */
static void packets_before_a_reset_wait_for_room(void **state)
{
	static struct channel b;
	struct half *a = packet_half_start(&b);
	size_t sent = fill_with_packets(a);

	(void)state;
	assert_int_equal(post_packet(&b, false, 100), 0);
	assert_int_equal(post_packet(&b, true, PROTO_DATA_MAX), 0);
	run_until(&loop, a->relay.packets.open);
	close_fd(&a->app);
	run_until(&loop, a->relay.failed);
	assert_int_equal(post_packet(&b, true, 1000), 0);
	assert_int_equal(post_packet(&b, false, 1000), 0);
	run_until(&loop, a->relay.ch.may_receive < PROTO_WINDOW - 2000 - PROTO_DATA_MAX);
	assert_int_equal(a->overs, 0);
	channel_consumed(&b, packets_cost);
	assert_over(a, ECONNRESET);
	assert_int_equal(packets_seen, sent);
	assert_int_equal(lost, 0);
}

/* Packets of any length, in an order and with bytes that both ends can compute. */
struct packet_stream {
	uint32_t seed;
	size_t left;
};

static size_t next_packet(struct packet_stream *s, uint8_t *p)
{
	size_t n;

	s->seed = s->seed * 1664525 + 1013904223;
	n = s->seed >> 8;
	/* Short ones, empty ones, and some that do not fit into one message. */
	n = n % 8 ? n / 8 % 2000 : n % 80 ? n / 80 % PROTO_DATA_MAX : n % PACKETS_MAX;
	n = s->seed >> 28 == 5 ? 0 : n;
	memset(p, (int)(s->seed >> 24), n);
	return n;
}

/* Send one if it is taken; false: it is not. */
static bool packet_write(int fd, struct packet_stream *s)
{
	static uint8_t bytes[PACKETS_MAX];
	struct packet_stream next = *s;
	size_t n = s->left ? next_packet(&next, bytes) : 0;

	if (!s->left || send(fd, bytes, n, 0) < 0)
		return false;
	s->seed = next.seed;
	s->left--;
	return true;
}

static bool packet_read(int fd, struct packet_stream *s)
{
	static uint8_t bytes[PACKETS_MAX], want[PACKETS_MAX];
	ssize_t got = s->left ? recv(fd, bytes, sizeof(bytes), 0) : -1;

	if (got < 0)
		return false;
	assert_int_equal(got, next_packet(s, want));
	assert_memory_equal(bytes, want, (size_t)got);
	s->left--;
	return true;
}

/* What one side may send and what the other has not given back yet is the window, always. */
static void assert_no_credit_lost(const struct channel *a, const struct channel *b)
{
	assert_int_equal(a->may_send + b->consumed, PROTO_WINDOW);
	assert_int_equal(b->may_receive + b->consumed, PROTO_WINDOW);
}

static void packets_both_ways_lose_no_credit(void **state)
{
	struct packet_stream out[2] = { { 1, PACKETS }, { 2, PACKETS } },
			     in[2] = { out[1], out[0] };
	struct half *h[2] = { &pairs[0].a, &pairs[0].b };
	unsigned turns = 0;

	(void)state;
	for (int i = 0; i < 2; i++) {
		int fds[2];

		assert_int_equal(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
			0);
		h[i]->app = fds[1];
		h[i]->relay.seqpacket = true;
		assert_int_equal(relay_start(&h[i]->relay, &loop, i ? &agent : &client, 0, fds[0],
					 false, half_over),
			0);
	}
	while (in[0].left || in[1].left) {
		for (int i = 0; i < 2; i++) {
			while (packet_write(h[i]->app, &out[i]))
				;
			/* Readers that sleep by turns: credit runs out. */
			while (turns / 64 % 4 != (unsigned)i && packet_read(h[i]->app, &in[i]))
				;
		}
		turns++;
		unit_run(&loop, 0);
	}
	unit_run(&loop, 5);
	assert_no_credit_lost(&h[0]->relay.ch, &h[1]->relay.ch);
	assert_no_credit_lost(&h[1]->relay.ch, &h[0]->relay.ch);
}

int main(void)
{
#define relay_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	static const struct CMUnitTest tests[] = {
		relay_test(each_direction_ends_by_itself),
		relay_test(bytes_before_a_reset_are_delivered),
		relay_test(a_reset_after_the_end_of_file_is_passed_on),
		relay_test(an_abort_resets_both_applications),
		relay_test(a_lost_link_ends_every_relay_once),
		relay_test(a_stream_that_had_ended_survives_the_link),
		relay_test(a_closed_port_is_a_refused_connection),
		relay_test(bytes_wait_for_the_connection),
		relay_test(bytes_before_a_reset_wait_for_the_connection),
		relay_test(bytes_and_the_end_wait_for_the_socket),
		relay_test(a_window_of_bytes_waits_for_the_socket),
		relay_test(a_reset_does_not_wait_for_the_socket),
		relay_test(an_abort_does_not_wait_for_the_socket),
		relay_test(a_late_socket_may_be_refused),
		relay_test(replies_can_be_dropped),
		relay_test(bulk_both_ways_at_once),
		relay_test(many_at_once),
		relay_test(a_reader_that_stops_costs_bounded_memory),
		relay_test(a_socket_at_its_end_does_not_spin),
		relay_test(bytes_before_a_reset_wait_for_room),
		relay_test(packets_before_a_reset_wait_for_room),
		relay_test(packets_both_ways_lose_no_credit),
	};

	return cmocka_run_group_tests_name("relay", tests, NULL, NULL);
}

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "mux.h"
#include "unit.h"

#define CHUNK 100000u

/* --- two ends in one loop --- */

struct end {
	struct mux mux;
	unsigned messages, lost;
	int error;
	enum msg_type last;
	bool done_in_message, done_in_lost;
};

/* A channel that keeps what comes, or only counts it. */
struct flow {
	struct channel ch;
	uint64_t got, left; /* bytes received, and still to be sent */
	uint64_t sum, seed; /* of what was received; of what is sent */
	bool consume, pumping;
	bool reset_on_data;
	unsigned eofs, resets, writable, posted;
	int error;
};

static struct loop loop;
static struct end client, agent;

static void end_message(struct mux *mux, const struct msg *m)
{
	struct end *e = container_of(mux, struct end, mux);

	e->messages++;
	e->last = m->type;
	if (e->done_in_message)
		mux_done(mux);
}

static void end_lost(struct mux *mux, int error, const char *why)
{
	struct end *e = container_of(mux, struct end, mux);

	assert_non_null(why);
	e->lost++;
	e->error = error;
	if (e->done_in_lost)
		mux_done(mux);
}

static const struct mux_ops end_ops = { .message = end_message, .lost = end_lost };

static void flow_pump(struct flow *f)
{
	uint8_t bytes[CHUNK];
	size_t n;

	do {
		for (n = 0; n < MIN(f->left, (uint64_t)sizeof(bytes)); n++)
			bytes[n] = (uint8_t)(f->seed + n);
		n = channel_send(&f->ch, bytes, n);
		f->left -= n;
		f->seed += n;
	} while (n);
	if (!f->left && channel_room(&f->ch))
		channel_eof(&f->ch);
}

static void flow_data(struct channel *c, const uint8_t *p, size_t n)
{
	struct flow *f = container_of(c, struct flow, ch);

	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], (uint8_t)(f->got + i));
	f->got += n;
	if (f->reset_on_data)
		channel_reset(c, ECONNABORTED);
	else if (f->consume)
		channel_consumed(c, n);
}

static void flow_eof(struct channel *c)
{
	container_of(c, struct flow, ch)->eofs++;
}

static void flow_reset(struct channel *c, int error)
{
	struct flow *f = container_of(c, struct flow, ch);

	assert_null(c->mux);
	f->resets++;
	f->error = error;
}

static void flow_writable(struct channel *c)
{
	struct flow *f = container_of(c, struct flow, ch);

	f->writable++;
	if (f->pumping)
		flow_pump(f);
}

/* A datagram or a packet. */
static void flow_message(struct channel *c, const struct msg *m)
{
	struct flow *f = container_of(c, struct flow, ch);
	size_t n = m->type == MSG_packet ? m->packet.bytes.len : m->datagram.bytes.len;

	assert_true(m->type == MSG_packet || m->type == MSG_datagram);
	f->posted++;
	f->got += n;
	if (f->consume)
		channel_consumed(c, PROTO_MESSAGE_COST(n));
}

static const struct channel_ops post_ops = {
	.data = flow_data,
	.eof = flow_eof,
	.reset = flow_reset,
	.writable = flow_writable,
	.message = flow_message,
};

static const struct channel_ops flow_ops = {
	.data = flow_data,
	.eof = flow_eof,
	.reset = flow_reset,
	.writable = flow_writable,
};

static void flow_open(struct flow *f, struct end *e, uint32_t id)
{
	*f = (struct flow){ 0 };
	assert_int_equal(channel_open(&f->ch, &e->mux, id, &flow_ops), 0);
}

static void flow_start(struct flow *f, uint64_t bytes)
{
	f->left = bytes;
	f->pumping = true;
	flow_pump(f);
}

static int set_up(void **state)
{
	int fds[2];

	(void)state;
	client = agent = (struct end){ 0 };
	if (loop_init(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	if (mux_init(&client.mux, &loop, fds[0], PROTO_CLIENT, &end_ops) < 0)
		return -1;
	return mux_init(&agent.mux, &loop, fds[1], PROTO_AGENT, &end_ops);
}

static int tear_down(void **state)
{
	(void)state;
	mux_done(&client.mux);
	mux_done(&agent.mux);
	loop_done(&loop);
	return 0;
}

/* --- a peer made by hand: the agent's side is a plain socket --- */

static int raw;

static int set_up_raw(void **state)
{
	int fds[2];

	(void)state;
	client = (struct end){ 0 };
	if (loop_init(&loop) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return -1;
	raw = fds[1];
	return mux_init(&client.mux, &loop, fds[0], PROTO_CLIENT, &end_ops);
}

static int tear_down_raw(void **state)
{
	(void)state;
	mux_done(&client.mux);
	close_fd(&raw);
	loop_done(&loop);
	return 0;
}

static void raw_bytes(const void *p, size_t n)
{
	assert_int_equal(send(raw, p, n, MSG_NOSIGNAL), n);
}

static void raw_send(struct msg m)
{
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	assert_int_equal(proto_encode(&b, &m), 0);
	raw_bytes(buf_head(&b), buf_len(&b));
	buf_done(&b);
}

/* n bytes of data that continue where a flow stands. */
static void raw_data(uint32_t id, uint64_t from, uint32_t n)
{
	uint8_t bytes[PROTO_DATA_MAX];

	for (uint32_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)(from + i);
	raw_send((struct msg){ .type = MSG_data, .id = id, .data.bytes = { bytes, n } });
	unit_run(&loop, 0);
}

/* The next frame that the client sent, which has no texts and no bytes. */
static struct msg raw_receive(void)
{
	uint8_t frame[PROTO_HEADER + 64];
	ssize_t n = recv(raw, frame, PROTO_HEADER, MSG_WAITALL);
	struct msg m;
	uint32_t body;

	assert_int_equal(n, PROTO_HEADER);
	body = (uint32_t)frame[2] << 8 | frame[3];
	assert_true(body <= 64);
	if (body)
		assert_int_equal(recv(raw, frame + n, body, MSG_WAITALL), body);
	assert_int_equal(
		proto_decode(frame, PROTO_HEADER + body, PROTO_CLIENT, &m), PROTO_HEADER + body);
	return m;
}

static bool raw_has_something(void)
{
	char c;

	return recv(raw, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

/* --- frames --- */

static void frames_arrive_however_they_are_cut(void **state)
{
	struct msg m = { .type = MSG_notice, .notice.text = span_of("hello") };
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	for (int i = 0; i < 3; i++)
		assert_int_equal(proto_encode(&b, &m), 0);
	for (; buf_len(&b); buf_consume(&b, 1)) {
		raw_bytes(buf_head(&b), 1);
		unit_run(&loop, 0);
	}
	buf_done(&b);
	assert_int_equal(client.messages, 3);
	assert_int_equal(client.last, MSG_notice);
	assert_int_equal(client.lost, 0);
}

static void what_is_not_a_frame_ends_the_link(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	raw_bytes("GET / HTTP/1.1\r\n", 16);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
	assert_int_equal(f.resets, 1);
	assert_int_equal(client.messages, 0);
}

static void frames_for_unknown_channels_are_dropped(void **state)
{
	(void)state;
	raw_data(9, 0, 100);
	raw_send((struct msg){ .type = MSG_credit, .id = 9, .credit.bytes = UINT32_MAX });
	raw_send((struct msg){ .type = MSG_eof, .id = 9 });
	raw_send((struct msg){ .type = MSG_reset, .id = 9 });
	raw_send((struct msg){ .type = MSG_notice });
	run_until(&loop, client.messages == 1);
	assert_int_equal(client.last, MSG_notice);
	assert_int_equal(client.lost, 0);
}

/* What comes on a channel that nobody has any more tells nobody anything. */
static void only_what_reaches_someone_is_heard(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	raw_data(9, 0, 100);
	raw_send((struct msg){ .type = MSG_eof, .id = 9 });
	raw_send((struct msg){ .type = MSG_reset, .id = 9 });
	raw_send((struct msg){ .type = MSG_notice });
	run_until(&loop, client.messages == 1);
	assert_int_equal(client.mux.heard, 0);
	raw_data(1, 0, 100);
	raw_send((struct msg){ .type = MSG_file_changed, .file_changed.events = FILE_EVENT_ATTR });
	raw_send((struct msg){ .type = MSG_file_changed }); /* it is watched from now on */
	run_until(&loop, client.messages == 3);
	assert_int_equal(client.mux.heard, 2);
}

static void a_ping_is_answered(void **state)
{
	struct msg m;

	(void)state;
	raw_send((struct msg){ .type = MSG_ping, .ping.cookie = 0x1122334455667788 });
	unit_run(&loop, 2);
	m = raw_receive();
	assert_int_equal(m.type, MSG_pong);
	assert_true(m.pong.cookie == 0x1122334455667788);
	assert_int_equal(client.messages, 0);
}

/* The peer refuses and closes, while we were about to say something. */
static void last_words_are_heard_before_the_end(void **state)
{
	struct msg ping = { .type = MSG_ping };

	(void)state;
	raw_send((struct msg){ .type = MSG_notice, .notice.text = span_of("no permission") });
	close_fd(&raw);
	mux_send(&client.mux, &ping);
	mux_flush(&client.mux, 0);
	unit_run(&loop, 2);
	assert_int_equal(client.messages, 1);
	assert_int_equal(client.lost, 1);
}

static void last_words_are_heard_when_sending_fails_first(void **state)
{
	struct msg ping = { .type = MSG_ping };

	(void)state;
	raw_send((struct msg){ .type = MSG_notice, .notice.text = span_of("no permission") });
	close_fd(&raw);
	mux_send(&client.mux, &ping);
	client.mux.flush.fn(&client.mux.flush);
	unit_run(&loop, 2);
	assert_int_equal(client.messages, 1);
	assert_int_equal(client.lost, 1);
}

static void a_mux_may_be_done_with_inside_its_calls(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	client.done_in_message = true;
	raw_send((struct msg){ .type = MSG_notice });
	raw_send((struct msg){ .type = MSG_notice });
	unit_run(&loop, 2);
	assert_int_equal(client.messages, 1);
	assert_int_equal(client.lost, 0);
	assert_int_equal(f.resets, 1);
	mux_send(&client.mux, &(struct msg){ .type = MSG_ping });
	mux_flush(&client.mux, 10);
	mux_fail(&client.mux, EIO, "again");
	assert_int_equal(client.lost, 0);
}

static void mux_done_inside_lost(void **state)
{
	(void)state;
	client.done_in_lost = true;
	close_fd(&raw);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, 0);
	unit_run(&loop, 1);
	assert_int_equal(client.lost, 1);
}

/* --- keep-alive: the timer is brought forward --- */

static void silence_is_asked_about_then_ends_the_link(void **state)
{
	(void)state;
	loop_timer(&loop, &client.mux.keepalive, 0);
	unit_run(&loop, 2);
	assert_int_equal(raw_receive().type, MSG_ping);
	assert_int_equal(client.lost, 0);
	loop_timer(&loop, &client.mux.keepalive, 0);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, ETIMEDOUT);
}

static void any_word_keeps_the_link(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		loop_timer(&loop, &client.mux.keepalive, 0);
		unit_run(&loop, 2);
		assert_int_equal(raw_receive().type, MSG_ping);
		if (i % 2)
			raw_send((struct msg){ .type = MSG_pong });
		else
			raw_data(9, 0, 1);
		unit_run(&loop, 1);
	}
	assert_int_equal(client.lost, 0);
}

static void two_muxes_keep_each_other_alive(void **state)
{
	(void)state;
	for (int i = 0; i < 5; i++) {
		loop_timer(&loop, &client.mux.keepalive, 0);
		loop_timer(&loop, &agent.mux.keepalive, 0);
		unit_run(&loop, 3);
	}
	assert_int_equal(client.lost + agent.lost, 0);
	assert_int_equal(client.messages + agent.messages, 0);
}

/* --- credit --- */

static void more_than_the_credit_ends_the_link(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	for (uint64_t at = 0; at < PROTO_WINDOW; at += PROTO_DATA_MAX)
		raw_data(1, at, PROTO_DATA_MAX);
	run_until(&loop, f.got == PROTO_WINDOW);
	assert_int_equal(client.lost, 0);
	raw_data(1, PROTO_WINDOW, 0);
	unit_run(&loop, 1);
	assert_int_equal(client.lost, 0);
	raw_data(1, PROTO_WINDOW, 1);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
	assert_int_equal(f.got, PROTO_WINDOW);
	assert_int_equal(f.resets, 1);
}

static void more_credit_than_the_window_ends_the_link(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	assert_int_equal(channel_send(&f.ch, "abc", 3), 3);
	raw_send((struct msg){ .type = MSG_credit, .id = 1, .credit.bytes = 3 });
	unit_run(&loop, 2);
	assert_int_equal(client.lost, 0);
	raw_send((struct msg){ .type = MSG_credit, .id = 1, .credit.bytes = 1 });
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
	assert_int_equal(f.resets, 1);
}

static void data_after_eof_ends_the_link(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	raw_send((struct msg){ .type = MSG_eof, .id = 1 });
	raw_send((struct msg){ .type = MSG_eof, .id = 1 });
	unit_run(&loop, 2);
	assert_int_equal(f.eofs, 1);
	assert_int_equal(client.lost, 0);
	raw_data(1, 0, 1);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
}

static void credit_is_given_for_consumed_bytes_only(void **state)
{
	static struct flow f;
	struct msg m;

	(void)state;
	flow_open(&f, &client, 1);
	for (uint64_t at = 0; at < PROTO_WINDOW / 2; at += PROTO_DATA_MAX)
		raw_data(1, at, PROTO_DATA_MAX);
	run_until(&loop, f.got == PROTO_WINDOW / 2);
	assert_false(raw_has_something());
	channel_consumed(&f.ch, PROTO_WINDOW / 4 - 1);
	unit_run(&loop, 1);
	assert_false(raw_has_something());
	channel_consumed(&f.ch, 1);
	unit_run(&loop, 1);
	m = raw_receive();
	assert_int_equal(m.type, MSG_credit);
	assert_int_equal(m.id, 1);
	assert_int_equal(m.credit.bytes, PROTO_WINDOW / 4);
}

static void a_channel_may_have_a_wider_window(void **state)
{
	static struct flow f;
	struct msg m;

	(void)state;
	flow_open(&f, &client, 1);
	channel_widen(&f.ch, 2 * PROTO_WINDOW);
	for (uint64_t at = 0; at < 2 * PROTO_WINDOW; at += PROTO_DATA_MAX)
		raw_data(1, at, PROTO_DATA_MAX);
	run_until(&loop, f.got == 2 * PROTO_WINDOW);
	channel_consumed(&f.ch, PROTO_WINDOW / 2 - 1);
	unit_run(&loop, 1);
	assert_false(raw_has_something());
	channel_consumed(&f.ch, 1);
	unit_run(&loop, 1);
	m = raw_receive();
	assert_int_equal(m.credit.bytes, PROTO_WINDOW / 2);
	raw_send((struct msg){ .type = MSG_credit, .id = 1, .credit.bytes = 1 });
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
}

static void no_credit_is_given_after_the_peers_eof(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	for (uint64_t at = 0; at < PROTO_WINDOW / 2; at += PROTO_DATA_MAX)
		raw_data(1, at, PROTO_DATA_MAX);
	raw_send((struct msg){ .type = MSG_eof, .id = 1 });
	run_until(&loop, f.eofs);
	channel_consumed(&f.ch, PROTO_WINDOW / 2);
	unit_run(&loop, 1);
	assert_false(raw_has_something());
}

static void a_sender_stops_at_its_credit(void **state)
{
	static struct flow from, to;

	(void)state;
	flow_open(&from, &client, 1);
	flow_open(&to, &agent, 1);
	flow_start(&from, 3 * PROTO_WINDOW);
	run_until(&loop, to.got == PROTO_WINDOW);
	unit_run(&loop, 5);
	assert_int_equal(to.got, PROTO_WINDOW);
	assert_int_equal(channel_room(&from.ch), 0);
	to.consume = true;
	channel_consumed(&to.ch, PROTO_WINDOW);
	run_until(&loop, to.eofs);
	assert_int_equal(to.got, 3 * PROTO_WINDOW);
	assert_int_equal(client.lost + agent.lost, 0);
}

static void a_slow_channel_holds_up_no_other(void **state)
{
	static struct flow slow_from, slow_to, from, to;

	(void)state;
	flow_open(&slow_from, &client, 1);
	flow_open(&slow_to, &agent, 1);
	flow_open(&from, &client, 2);
	flow_open(&to, &agent, 2);
	to.consume = true;
	flow_start(&slow_from, 8 * PROTO_WINDOW);
	flow_start(&from, 8 * PROTO_WINDOW);
	run_until(&loop, to.eofs);
	assert_int_equal(to.got, 8 * PROTO_WINDOW);
	assert_int_equal(slow_to.got, PROTO_WINDOW);
}

/* --- the end of a channel --- */

static void each_direction_ends_by_itself(void **state)
{
	static struct flow a, b;

	(void)state;
	flow_open(&a, &client, 1);
	flow_open(&b, &agent, 1);
	channel_send(&a.ch, "\0\1\2", 3);
	channel_eof(&a.ch);
	channel_eof(&a.ch);
	assert_int_equal(channel_room(&a.ch), 0);
	run_until(&loop, b.eofs);
	assert_int_equal(b.got, 3);
	assert_false(channel_is_over(&a.ch));
	assert_int_equal(channel_send(&b.ch, "\0\1", 2), 2);
	channel_eof(&b.ch);
	run_until(&loop, a.eofs);
	assert_int_equal(a.got, 2);
	assert_true(channel_is_over(&a.ch));
	assert_true(channel_is_over(&b.ch));
	assert_int_equal(a.eofs + b.eofs, 2);
	assert_int_equal(a.resets + b.resets, 0);
	channel_close(&a.ch);
	channel_close(&a.ch);
	channel_close(&b.ch);
}

static void a_reset_ends_both_directions(void **state)
{
	for (int turned = 0; turned < 2; turned++) {
		static struct flow a, b;

		(void)state;
		flow_open(&a, turned ? &agent : &client, 1);
		flow_open(&b, turned ? &client : &agent, 1);
		channel_send(&a.ch, "\0\1\2", 3);
		channel_reset(&a.ch, ETIMEDOUT);
		assert_int_equal(a.resets, 0);
		assert_null(a.ch.mux);
		channel_send(&b.ch, "crossing", 8);
		run_until(&loop, b.resets);
		assert_int_equal(b.got, 3);
		assert_int_equal(b.error, ETIMEDOUT);
		assert_null(b.ch.mux);
		unit_run(&loop, 1);
		assert_int_equal(a.got, 0);
		assert_int_equal(client.lost + agent.lost, 0);
	}
}

static void a_closed_channel_can_be_used_without_harm(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	channel_reset(&f.ch, 0);
	channel_reset(&f.ch, 0);
	channel_eof(&f.ch);
	channel_consumed(&f.ch, PROTO_WINDOW);
	assert_int_equal(channel_room(&f.ch), 0);
	assert_int_equal(channel_send(&f.ch, "x", 1), 0);
	flow_open(&f, &client, 1);
}

static void a_channel_may_reset_itself_while_it_gets_data(void **state)
{
	static struct flow from, to;

	(void)state;
	flow_open(&from, &client, 1);
	flow_open(&to, &agent, 1);
	to.reset_on_data = true;
	flow_start(&from, PROTO_WINDOW);
	run_until(&loop, from.resets);
	assert_int_equal(from.error, ECONNABORTED);
	assert_int_equal(to.resets, 0);
	assert_int_equal(to.got, PROTO_DATA_MAX);
}

static void an_error_that_is_no_errno_is_replaced(void **state)
{
	static const struct {
		uint32_t sent;
		int seen;
	} cases[] = {
		{ 0, 0 },
		{ ECONNREFUSED, ECONNREFUSED },
		{ 4095, 4095 },
		{ 4096, EPROTO },
		{ UINT32_MAX, EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static struct flow f;

		flow_open(&f, &client, 1);
		raw_send((struct msg){ .type = MSG_reset, .id = 1, .reset.error = cases[i].sent });
		run_until(&loop, f.resets);
		assert_int_equal(f.error, cases[i].seen);
	}
}

static void a_lost_link_resets_each_channel_once(void **state)
{
	static struct flow flows[100];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(flows); i++)
		flow_open(&flows[i], &client, i);
	mux_done(&agent.mux);
	assert_int_equal(agent.lost, 0);
	run_until(&loop, client.lost);
	unit_run(&loop, 1);
	assert_int_equal(client.lost, 1);
	assert_int_equal(client.error, 0);
	for (uint32_t i = 0; i < ARRAY_SIZE(flows); i++) {
		assert_int_equal(flows[i].resets, 1);
		assert_int_equal(flows[i].error, ENOTCONN);
	}
	assert_int_equal(channel_open(&flows[0].ch, &client.mux, 1, &flow_ops), -ENOTCONN);
}

static void channels_that_cannot_be_opened(void **state)
{
	static struct flow flows[MUX_CHANNELS_MAX];
	static struct flow one_more;

	(void)state;
	flow_open(&flows[0], &client, 0);
	assert_int_equal(channel_open(&one_more.ch, &client.mux, 0, &flow_ops), -EEXIST);
	for (uint32_t i = 1; i < MUX_CHANNELS_MAX; i++)
		flow_open(&flows[i], &client, i);
	assert_int_equal(channel_open(&one_more.ch, &client.mux, UINT32_MAX, &flow_ops), -EMFILE);
	channel_close(&flows[77].ch);
	flow_open(&one_more, &client, UINT32_MAX);
	channel_close(&one_more.ch);
}

static void many_channels_at_once(void **state)
{
	static struct flow from[500], to[500];
	uint64_t seed = 3;

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++) {
		bool turned = i % 2;

		flow_open(&from[i], turned ? &agent : &client, i);
		flow_open(&to[i], turned ? &client : &agent, i);
		to[i].consume = true;
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++)
		flow_start(&from[i], from[i].sum = unit_random(&seed) % 200000);
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++) {
		run_until(&loop, to[i].eofs);
		assert_int_equal(to[i].got, from[i].sum);
		channel_close(&from[i].ch);
		channel_close(&to[i].ch);
	}
	assert_int_equal(client.mux.channels.count + agent.mux.channels.count, 0);
	assert_null(client.mux.out.data);
	assert_null(client.mux.in.data);
}

/* --- the queue --- */

static void a_peer_that_does_not_read_costs_bounded_memory(void **state)
{
	static struct flow flows[64];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(flows); i++) {
		flow_open(&flows[i], &client, i);
		flow_start(&flows[i], PROTO_WINDOW);
	}
	unit_run(&loop, 5);
	assert_true(buf_len(&client.mux.out) >= MUX_OUT_LOW);
	assert_true(buf_len(&client.mux.out) < MUX_OUT_HIGH + PROTO_FRAME_MAX);
	assert_int_equal(client.lost, 0);
}

static void channels_that_waited_go_on_when_there_is_room(void **state)
{
	static struct flow from[64], to[64];

	(void)state;
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++) {
		flow_open(&from[i], &client, i);
		flow_open(&to[i], &agent, i);
		to[i].consume = true;
	}
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++)
		flow_start(&from[i], PROTO_WINDOW + 12345);
	for (uint32_t i = 0; i < ARRAY_SIZE(from); i++)
		run_until(&loop, to[i].eofs && to[i].got == PROTO_WINDOW + 12345);
}

static void a_peer_that_lets_everything_pile_up_is_lost(void **state)
{
	struct msg m = { .type = MSG_subscribe };
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	for (size_t n = 0; n < MUX_OUT_MAX + PROTO_FRAME_MAX; n += PROTO_HEADER + 4)
		mux_send(&client.mux, &m);
	assert_int_equal(client.lost, 0);
	assert_true(buf_len(&client.mux.out) <= MUX_OUT_MAX);
	run_until(&loop, client.lost);
	assert_int_equal(client.error, ENOBUFS);
	assert_int_equal(f.resets, 1);
	unit_run(&loop, 1);
	assert_int_equal(client.lost, 1);
}

/* Read all there is of the raw end, n bytes at the most. */
static size_t raw_drain(size_t n)
{
	static uint8_t bytes[1 << 20];
	size_t all = 0;

	while (all < n) {
		ssize_t r = recv(raw, bytes, MIN(sizeof(bytes), n - all), MSG_DONTWAIT);

		if (r <= 0)
			break;
		all += (size_t)r;
	}
	return all;
}

static void ignore_signal(int sig)
{
	(void)sig;
}

/* A signal every so many microseconds; 0: no more. */
static void interrupt_every(long us)
{
	struct itimerval every = { .it_interval.tv_usec = us, .it_value.tv_usec = us };
	struct sigaction act = { .sa_handler = ignore_signal };

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
}

static void a_flush_waits_for_the_peer_but_not_for_ever(void **state)
{
	struct msg m = { .type = MSG_ping };
	uint64_t start;

	(void)state;
	mux_send(&client.mux, &m);
	mux_flush(&client.mux, 1000);
	assert_int_equal(raw_receive().type, MSG_ping);
	while (buf_len(&client.mux.out) < MUX_OUT_LOW)
		mux_send(&client.mux, &m);
	start = now_ns();
	interrupt_every(5000);
	mux_flush(&client.mux, 30);
	interrupt_every(0);
	assert_true(now_ns() - start >= 29000000);
	assert_true(buf_len(&client.mux.out) > 0);
	assert_int_equal(client.lost, 0);
}

static void a_flush_that_empties_the_queue_wakes_who_waits(void **state)
{
	int big = 4 << 20;
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1);
	assert_int_equal(channel_send(&f.ch, (uint8_t[CHUNK]){ 0 }, CHUNK), CHUNK);
	while (buf_len(&client.mux.out) < MUX_OUT_HIGH)
		mux_send(&client.mux, &(struct msg){ .type = MSG_ping });
	assert_int_equal(channel_room(&f.ch), 0);
	unit_run(&loop, 1);
	assert_int_equal(f.writable, 0);
	setsockopt(client.mux.watch.fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof(big));
	while (buf_len(&client.mux.out)) {
		raw_drain(SIZE_MAX);
		mux_flush(&client.mux, 0);
	}
	run_until(&loop, f.writable);
}

/* --- datagrams and packets --- */

static void post_open(struct flow *f, struct end *e, uint32_t id)
{
	*f = (struct flow){ 0 };
	assert_int_equal(channel_open(&f->ch, &e->mux, id, &post_ops), 0);
}

static struct msg packet_of(uint32_t id, uint32_t n)
{
	static const uint8_t zeros[PROTO_DATA_MAX];

	return (struct msg){ .type = MSG_packet, .id = id, .packet.bytes = { zeros, n } };
}

/* Post until the channel takes no more; how many. */
static unsigned post_all(struct flow *f, uint32_t n)
{
	const struct msg m = packet_of(f->ch.id, n);
	unsigned sent = 0;

	while (channel_post(&f->ch, &m, n) == 0)
		sent++;
	return sent;
}

static void a_datagram_is_taken_whole_or_not_at_all(void **state)
{
	static struct flow from, to;

	(void)state;
	post_open(&from, &client, 1);
	post_open(&to, &agent, 1);
	assert_int_equal(
		post_all(&from, PROTO_DATA_MAX), PROTO_WINDOW / PROTO_MESSAGE_COST(PROTO_DATA_MAX));
	run_until(&loop, to.posted == PROTO_WINDOW / PROTO_MESSAGE_COST(PROTO_DATA_MAX));
	assert_true(from.ch.may_send < PROTO_MESSAGE_COST(PROTO_DATA_MAX));
	/* A smaller one has room still. */
	assert_int_equal(post_all(&from, 1000),
		PROTO_WINDOW % PROTO_MESSAGE_COST(PROTO_DATA_MAX) / PROTO_MESSAGE_COST(1000));
	assert_int_equal(client.lost, 0);
	assert_int_equal(agent.lost, 0);
}

static void an_empty_datagram_is_not_free(void **state)
{
	static struct flow from, to;

	(void)state;
	post_open(&from, &client, 1);
	post_open(&to, &agent, 1);
	assert_int_equal(post_all(&from, 0), PROTO_WINDOW / PROTO_MESSAGE_COST(0));
	run_until(&loop, to.posted == PROTO_WINDOW / PROTO_MESSAGE_COST(0));
	assert_int_equal(channel_room(&from.ch), 0);
	assert_int_equal(agent.lost, 0);
}

/* Credit comes back for what was consumed, and with it the sender's turn, though it had some left:
 * too little for the largest datagram. */
static void who_waits_with_a_datagram_is_told(void **state)
{
	static struct flow from, to;
	unsigned sent;

	(void)state;
	post_open(&from, &client, 1);
	post_open(&to, &agent, 1);
	to.consume = true;
	sent = post_all(&from, PROTO_DATA_MAX);
	assert_true(from.ch.may_send > 0);
	run_until(&loop, from.writable);
	assert_true(post_all(&from, PROTO_DATA_MAX) > 0);
	run_until(&loop, to.posted > sent);
	assert_int_equal(agent.lost, 0);
}

static void datagrams_beyond_the_credit_end_the_link(void **state)
{
	static struct flow f;
	const unsigned max = PROTO_WINDOW / PROTO_MESSAGE_COST(PROTO_DATA_MAX);

	(void)state;
	post_open(&f, &client, 1);
	for (unsigned i = 0; i < max; i++) {
		raw_send(packet_of(1, PROTO_DATA_MAX));
		unit_run(&loop, 0);
	}
	run_until(&loop, f.posted == max);
	assert_int_equal(client.lost, 0);
	raw_send(packet_of(1, PROTO_DATA_MAX));
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
	assert_int_equal(f.posted, max);
}

static void unwanted_datagrams_end_the_link(void **state)
{
	static struct flow f;

	(void)state;
	flow_open(&f, &client, 1); /* a channel that takes none */
	raw_send(packet_of(1, 1));
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
}

static void datagrams_after_the_end_end_the_link(void **state)
{
	static struct flow f;

	(void)state;
	post_open(&f, &client, 1);
	raw_send((struct msg){ .type = MSG_eof, .id = 1 });
	raw_send(packet_of(1, 1));
	run_until(&loop, client.lost);
	assert_int_equal(client.error, EPROTO);
	assert_int_equal(f.posted, 0);
}

static void messages_of_channels_that_are_not_open_are_dropped(void **state)
{
	static const enum msg_type types[] = { MSG_connecting, MSG_connected, MSG_packet,
		MSG_udp_opened, MSG_udp_connected, MSG_datagram, MSG_udp_error };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		raw_send((struct msg){ .type = types[i], .id = PROTO_CLIENT_CHANNEL });
	raw_send((struct msg){ .type = MSG_notice });
	run_until(&loop, client.messages == 1);
	assert_int_equal(client.last, MSG_notice);
	assert_int_equal(client.lost, 0);
}

/* --- sources, and what goes before a message --- */

/* Sends `left` messages of `size` bytes, or of none with an id that counts up. */
struct well {
	struct mux_source source;
	unsigned left, asked;
	uint32_t id, size;
	bool pauses, held;
};

static enum mux_more well_more(struct mux_source *s, struct mux *mux)
{
	static const uint8_t zeros[PROTO_DATA_MAX];
	struct well *w = container_of(s, struct well, source);
	struct msg m = { .type = MSG_file_close, .id = w->id };

	w->asked++;
	if (w->held || (w->pauses && w->asked % 2))
		return MUX_PAUSE;
	if (!w->left)
		return MUX_OVER;
	w->left--;
	if (w->size) {
		m.type = MSG_file_write;
		m.file_write.bytes = (struct span){ zeros, w->size };
	} else {
		w->id++;
	}
	mux_source_send(mux, &m);
	return w->left ? MUX_MORE : MUX_OVER;
}

static void well_init(struct well *w, uint32_t id, unsigned left, uint32_t size)
{
	*w = (struct well){ .id = id, .left = left, .size = size };
	mux_source_init(&w->source, well_more);
}

static void say(uint32_t id)
{
	struct msg m = { .type = MSG_unsubscribe, .id = id };

	mux_send(&client.mux, &m);
}

/* What the raw peer got: `first` to `last` in a row of one type. */
static void raw_expect(enum msg_type type, uint32_t first, uint32_t last)
{
	for (uint32_t id = first; id <= last; id++) {
		struct msg m = raw_receive();

		assert_int_equal(m.type, type);
		assert_int_equal(m.id, id);
	}
}

static void a_source_keeps_its_place(void **state)
{
	struct well a, b, c;

	(void)state;
	well_init(&a, 10, 3, 0);
	well_init(&b, 20, 2, 0);
	well_init(&c, 30, 1, 0);
	say(1);
	mux_source_add(&client.mux, &a.source);
	say(2);
	mux_source_add(&client.mux, &b.source);
	mux_source_add(&client.mux, &c.source);
	mux_source_add(&client.mux, &a.source); /* it has a place */
	say(3);
	say(4);
	unit_run(&loop, 3);
	raw_expect(MSG_unsubscribe, 1, 1);
	raw_expect(MSG_file_close, 10, 12);
	raw_expect(MSG_unsubscribe, 2, 2);
	raw_expect(MSG_file_close, 20, 21);
	raw_expect(MSG_file_close, 30, 30);
	raw_expect(MSG_unsubscribe, 3, 4);
	assert_false(raw_has_something());
	assert_false(mux_source_waits(&a.source));
}

static void a_source_that_is_over_may_come_again(void **state)
{
	struct well a;

	(void)state;
	well_init(&a, 10, 1, 0);
	for (uint32_t i = 0; i < 3; i++) {
		a.left = 1;
		mux_source_add(&client.mux, &a.source);
		say(i);
		unit_run(&loop, 2);
		raw_expect(MSG_file_close, 10 + i, 10 + i);
		raw_expect(MSG_unsubscribe, i, i);
	}
}

static void what_waits_for_a_source_that_leaves_goes_on(void **state)
{
	struct well a, b;

	(void)state;
	well_init(&a, 10, 1, 0);
	well_init(&b, 20, 1, 0);
	mux_source_add(&client.mux, &a.source);
	say(1);
	mux_source_add(&client.mux, &b.source);
	say(2);
	mux_source_del(&client.mux, &a.source);
	mux_source_del(&client.mux, &a.source);
	say(3);
	unit_run(&loop, 2);
	raw_expect(MSG_unsubscribe, 1, 1);
	raw_expect(MSG_file_close, 20, 20);
	raw_expect(MSG_unsubscribe, 2, 3);
}

static void a_source_that_pauses_is_asked_again(void **state)
{
	struct well a;

	(void)state;
	well_init(&a, 10, 3, 0);
	a.pauses = true;
	mux_source_add(&client.mux, &a.source);
	say(1);
	unit_run(&loop, 0);
	assert_int_equal(a.asked, 1);
	run_until(&loop, !mux_source_waits(&a.source));
	unit_run(&loop, 1);
	raw_expect(MSG_file_close, 10, 12);
	raw_expect(MSG_unsubscribe, 1, 1);
}

/* A gigabyte takes no memory, nor do the channels that want to send behind it. */
static void a_source_costs_bounded_memory(void **state)
{
	static struct flow f;
	static struct well a;

	(void)state;
	flow_open(&f, &client, 1);
	well_init(&a, 10, 1 << 14, PROTO_DATA_MAX);
	mux_source_add(&client.mux, &a.source);
	unit_run(&loop, 5);
	assert_true(client.mux.out.tail - client.mux.out.head <= MUX_OUT_LOW + PROTO_FRAME_MAX);
	f.ch.may_send = 16 * PROTO_WINDOW; /* as of many channels */
	flow_start(&f, 16 * PROTO_WINDOW);
	unit_run(&loop, 5);
	assert_true(buf_len(&client.mux.later) <= MUX_OUT_HIGH + 2 * PROTO_FRAME_MAX);
	assert_int_equal(client.lost, 0);
	assert_true(a.left > (1 << 14) - 1000);
}

static void channels_wait_behind_a_source_and_go_on(void **state)
{
	static struct flow f, g;
	struct well a;

	(void)state;
	flow_open(&f, &client, 1);
	flow_open(&g, &agent, 1);
	g.consume = true;
	well_init(&a, 10, 100, PROTO_DATA_MAX);
	mux_source_add(&client.mux, &a.source);
	flow_start(&f, 10 * PROTO_WINDOW);
	run_until(&loop, g.eofs);
	assert_true(g.got == 10 * PROTO_WINDOW);
	assert_int_equal(agent.messages, 100);
	assert_int_equal(a.left, 0);
}

static void a_flush_sends_what_sources_have(void **state)
{
	struct well a;

	(void)state;
	well_init(&a, 10, 3, 0);
	a.pauses = true;
	mux_source_add(&client.mux, &a.source);
	say(1);
	mux_flush(&client.mux, 1000);
	raw_expect(MSG_file_close, 10, 12);
	raw_expect(MSG_unsubscribe, 1, 1);
}

/* However long a source is, whoever asks whether we live gets an answer, and the other direction
 * its credit. */
static void credit_and_keep_alive_pass_sources(void **state)
{
	static struct flow f;
	struct well a;
	struct msg m;

	(void)state;
	flow_open(&f, &client, 1);
	f.consume = true;
	well_init(&a, 10, 1, 0);
	a.held = true;
	mux_source_add(&client.mux, &a.source);
	say(1);
	raw_send((struct msg){ .type = MSG_ping, .ping.cookie = 7 });
	for (unsigned i = 0; i < 4; i++)
		raw_data(1, (uint64_t)i * PROTO_DATA_MAX, PROTO_DATA_MAX);
	run_until(&loop, f.got == 4 * PROTO_DATA_MAX);
	m = raw_receive();
	assert_int_equal(m.type, MSG_pong);
	m = raw_receive();
	assert_int_equal(m.type, MSG_credit);
	assert_false(raw_has_something());
	a.held = false;
	unit_run(&loop, 1);
	raw_expect(MSG_file_close, 10, 10);
	raw_expect(MSG_unsubscribe, 1, 1);
}

static void a_lost_link_forgets_its_sources(void **state)
{
	struct well a;

	(void)state;
	well_init(&a, 10, 1, 0);
	a.held = true;
	mux_source_add(&client.mux, &a.source);
	say(1);
	close_fd(&raw);
	run_until(&loop, client.lost);
	assert_false(mux_source_waits(&a.source));
	mux_source_add(&client.mux, &a.source);
	assert_false(mux_source_waits(&a.source));
	mux_source_del(&client.mux, &a.source);
}

/* What the hook of the supervisor's link adds, if anything. */
static struct well *before;
static unsigned hooks;

static void add_before(struct mux *mux)
{
	hooks++;
	if (before)
		mux_source_add(mux, &before->source);
}

static const struct mux_ops hook_ops = {
	.message = end_message,
	.lost = end_lost,
	.before_send = add_before,
};

static void send_bytes(struct channel *c)
{
	assert_int_equal(channel_send(c, "ab", 2), 2);
}

static void send_packet(struct channel *c)
{
	struct msg m = { .type = MSG_packet, .id = c->id, .packet.bytes = { "ab", 2 } };

	assert_int_equal(channel_post(c, &m, 2), 0);
}

static void send_message(struct channel *c)
{
	struct msg m = { .type = MSG_unsubscribe, .id = c->id };

	mux_send(c->mux, &m);
}

static void send_reset(struct channel *c)
{
	channel_reset(c, ECONNRESET);
}

static const struct {
	void (*send)(struct channel *c);
	enum msg_type type;
} ways[] = {
	{ send_bytes, MSG_data },
	{ send_packet, MSG_packet },
	{ send_message, MSG_unsubscribe },
	{ channel_eof, MSG_eof },
	{ send_reset, MSG_reset },
};

/* However something is sent, what the hook adds at that moment comes before it: behind an empty
 * queue, behind one with messages, and behind one with a source. */
static void the_hook_comes_before_what_is_sent(void **state)
{
	static struct flow f;
	struct well a, b;

	(void)state;
	client.mux.ops = &hook_ops;
	for (unsigned i = 0; i < 3 * ARRAY_SIZE(ways); i++) {
		before = NULL;
		well_init(&a, 10, 2, 0);
		well_init(&b, 20, 1, 0);
		flow_open(&f, &client, 1);
		if (i % 3 > 0)
			say(2);
		if (i % 3 > 1)
			mux_source_add(&client.mux, &b.source);
		before = &a;
		ways[i / 3].send(&f.ch);
		before = NULL;
		say(3);
		unit_run(&loop, 1);
		channel_close(&f.ch);

		if (i % 3 > 0)
			raw_expect(MSG_unsubscribe, 2, 2);
		if (i % 3 > 1)
			raw_expect(MSG_file_close, 20, 20);
		raw_expect(MSG_file_close, 10, 11);
		raw_expect(ways[i / 3].type, 1, 1);
		raw_expect(MSG_unsubscribe, 3, 3);
		assert_false(raw_has_something());
	}
}

static void the_hook_is_not_asked_about_what_passes(void **state)
{
	static struct flow f;
	static struct well a;

	(void)state;
	client.mux.ops = &hook_ops;
	before = NULL;
	hooks = 0;
	flow_open(&f, &client, 1);
	well_init(&a, 10, 2, 0);
	mux_source_add(&client.mux, &a.source);
	raw_send((struct msg){ .type = MSG_ping });
	channel_consumed(&f.ch, PROTO_WINDOW / 2);
	unit_run(&loop, 2);
	assert_int_equal(hooks, 0);
	say(1);
	assert_int_equal(hooks, 1);
}

int main(void)
{
#define pair_test(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
#define raw_test(fn)  cmocka_unit_test_setup_teardown(fn, set_up_raw, tear_down_raw)
	static const struct CMUnitTest tests[] = {
		raw_test(frames_arrive_however_they_are_cut),
		raw_test(what_is_not_a_frame_ends_the_link),
		raw_test(frames_for_unknown_channels_are_dropped),
		raw_test(only_what_reaches_someone_is_heard),
		raw_test(a_ping_is_answered),
		raw_test(last_words_are_heard_before_the_end),
		raw_test(last_words_are_heard_when_sending_fails_first),
		raw_test(a_mux_may_be_done_with_inside_its_calls),
		raw_test(mux_done_inside_lost),
		raw_test(silence_is_asked_about_then_ends_the_link),
		raw_test(any_word_keeps_the_link),
		pair_test(two_muxes_keep_each_other_alive),
		raw_test(more_than_the_credit_ends_the_link),
		raw_test(more_credit_than_the_window_ends_the_link),
		raw_test(data_after_eof_ends_the_link),
		raw_test(credit_is_given_for_consumed_bytes_only),
		raw_test(a_channel_may_have_a_wider_window),
		raw_test(no_credit_is_given_after_the_peers_eof),
		pair_test(a_sender_stops_at_its_credit),
		pair_test(a_slow_channel_holds_up_no_other),
		pair_test(each_direction_ends_by_itself),
		pair_test(a_reset_ends_both_directions),
		pair_test(a_closed_channel_can_be_used_without_harm),
		pair_test(a_channel_may_reset_itself_while_it_gets_data),
		raw_test(an_error_that_is_no_errno_is_replaced),
		pair_test(a_lost_link_resets_each_channel_once),
		pair_test(channels_that_cannot_be_opened),
		pair_test(many_channels_at_once),
		raw_test(a_peer_that_does_not_read_costs_bounded_memory),
		pair_test(channels_that_waited_go_on_when_there_is_room),
		raw_test(a_peer_that_lets_everything_pile_up_is_lost),
		raw_test(a_flush_waits_for_the_peer_but_not_for_ever),
		raw_test(a_flush_that_empties_the_queue_wakes_who_waits),
		pair_test(a_datagram_is_taken_whole_or_not_at_all),
		pair_test(an_empty_datagram_is_not_free),
		pair_test(who_waits_with_a_datagram_is_told),
		raw_test(datagrams_beyond_the_credit_end_the_link),
		raw_test(unwanted_datagrams_end_the_link),
		raw_test(datagrams_after_the_end_end_the_link),
		raw_test(messages_of_channels_that_are_not_open_are_dropped),
		raw_test(a_source_keeps_its_place),
		raw_test(a_source_that_is_over_may_come_again),
		raw_test(what_waits_for_a_source_that_leaves_goes_on),
		raw_test(a_source_that_pauses_is_asked_again),
		raw_test(a_source_costs_bounded_memory),
		pair_test(channels_wait_behind_a_source_and_go_on),
		raw_test(a_flush_sends_what_sources_have),
		raw_test(credit_and_keep_alive_pass_sources),
		raw_test(a_lost_link_forgets_its_sources),
		raw_test(the_hook_comes_before_what_is_sent),
		raw_test(the_hook_is_not_asked_about_what_passes),
	};

	return cmocka_run_group_tests_name("mux", tests, NULL, NULL);
}

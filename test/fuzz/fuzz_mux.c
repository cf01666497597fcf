/* A hostile peer on the link: its bytes go into a mux whose owner opens a channel for every message
 * that asks for one, by turns a relay to a socket and a channel that says back what it hears.
 * Input: a byte (1: the peer is the agent, 2: it does not read, 4: it closes first), then the
 * stream, which is cut into writes as it says. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "relay.h"

#define CHANNELS_MAX 32
#define TURNS_AFTER  4 /* until all that is under way has settled */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct echo {
	struct channel ch;
	bool open;
};

struct piped {
	struct relay relay;
	bool open;
	int other;
};

static struct loop loop;
static struct mux mux;
static struct echo echoes[CHANNELS_MAX];
static struct piped pipes[CHANNELS_MAX];

static void echo_data(struct channel *c, const uint8_t *p, size_t n)
{
	channel_consumed(c, channel_send(c, p, n));
}

static void echo_eof(struct channel *c)
{
	channel_eof(c);
	container_of(c, struct echo, ch)->open = false;
	channel_close(c);
}

static void echo_reset(struct channel *c, int error)
{
	if (error < 0 || c->mux)
		abort();
	container_of(c, struct echo, ch)->open = false;
}

static void echo_writable(struct channel *c)
{
	channel_send(c, "again", 5);
}

/* A datagram or a packet is said back, as far as there is room. */
static void echo_message(struct channel *c, const struct msg *m)
{
	size_t n = m->type == MSG_packet     ? m->packet.bytes.len
		   : m->type == MSG_datagram ? m->datagram.bytes.len
					     : 0;

	if (m->type == MSG_packet || m->type == MSG_datagram) {
		channel_post(c, m, n);
		channel_consumed(c, PROTO_MESSAGE_COST(n));
	}
}

static const struct channel_ops echo_ops = {
	.message = echo_message,
	.data = echo_data,
	.eof = echo_eof,
	.reset = echo_reset,
	.writable = echo_writable,
};

static void echo_start(uint32_t id)
{
	for (size_t i = 0; i < CHANNELS_MAX; i++) {
		struct echo *e = &echoes[i];

		if (e->open)
			continue;
		e->open = channel_open(&e->ch, &mux, id, &echo_ops) == 0;
		return;
	}
}

static void pipe_over(struct relay *r, int error)
{
	struct piped *p = container_of(r, struct piped, relay);

	if (error < 0 || !p->open)
		abort();
	p->open = false;
	close_fd(&p->other);
}

static void pipe_start(uint32_t id)
{
	for (size_t i = 0; i < CHANNELS_MAX; i++) {
		struct piped *p = &pipes[i];
		int type = id % 16 == 5 ? SOCK_SEQPACKET : SOCK_STREAM, fds[2];

		if (p->open || socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, fds) < 0)
			continue;
		p->relay.seqpacket = type == SOCK_SEQPACKET;
		p->other = fds[1];
		p->relay.drop_replies = id % 4 == 1;
		p->open = true;
		if (relay_start(&p->relay, &loop, &mux, id, fds[0], id % 8 == 3, pipe_over) < 0) {
			p->open = false;
			close_fd(&p->other);
		}
		return;
	}
}

static void message(struct mux *m, const struct msg *msg)
{
	struct msg answer = { .type = MSG_notice, .notice.text = span_of("heard") };

	if (msg->type == MSG_incoming || msg->type == MSG_subscribe)
		(msg->id % 2 ? pipe_start : echo_start)(msg->id);
	mux_send(m, &answer);
}

static void lost(struct mux *m, int error, const char *why)
{
	if (error < 0 || !why || m->channels.count)
		abort();
}

static const struct mux_ops ops = { .message = message, .lost = lost };

/* The applications behind the relays: some take what comes, some close. */
static void run_applications(uint8_t how)
{
	char bytes[512];

	for (size_t i = 0; i < CHANNELS_MAX; i++) {
		if (!pipes[i].open || pipes[i].other < 0)
			continue;
		if (how % 4 == 0)
			close_fd(&pipes[i].other);
		else if (read(pipes[i].other, bytes, sizeof(bytes)) > 0)
			send(pipes[i].other, bytes, sizeof(bytes), MSG_NOSIGNAL);
	}
}

static void stop(struct timer *t)
{
	(void)t;
	loop.stop = true;
}

static void turn(void)
{
	struct timer now;

	timer_init(&now, stop);
	loop_timer(&loop, &now, 0);
	loop.stop = false;
	if (loop_run(&loop) < 0)
		abort();
}

/* Everything into the link, in pieces, with the loop running and the answers thrown away. */
static void feed(int fd, const uint8_t *data, size_t size, bool reads)
{
	static uint8_t answers[1 << 16];

	while (size && !mux.lost) {
		size_t piece = MIN(size, (size_t)(data[0] < 16 ? data[0] + 1 : 4096));
		ssize_t n = send(fd, data, piece, MSG_NOSIGNAL);
		uint8_t how = data[piece - 1];

		turn();
		run_applications(how);
		if ((!reads || read(fd, answers, sizeof(answers)) < 0) && n < 0)
			break;
		data += n > 0 ? n : 0;
		size -= n > 0 ? (size_t)n : 0;
	}
}

/* A link with a small send buffer, so that it is soon full; the peer's end. */
static int set_up(enum proto_side side)
{
	int fds[2], small = 1;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) < 0 || loop_init(&loop) < 0)
		abort();
	setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	if (mux_init(&mux, &loop, fds[0], side, &ops) < 0)
		abort();
	return fds[1];
}

static void tear_down(void)
{
	mux_done(&mux);
	loop_done(&loop);
	for (size_t i = 0; i < CHANNELS_MAX; i++)
		if (echoes[i].open || pipes[i].open)
			abort(); /* a channel that was not told of the end */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd;

	if (!size)
		return 0;
	fd = set_up(data[0] & 1 ? PROTO_CLIENT : PROTO_AGENT);
	feed(fd, data + 1, size - 1, !(data[0] & 2));
	if (data[0] & 4)
		close_fd(&fd);
	for (int i = 0; i < TURNS_AFTER; i++)
		turn();
	if (buf_len(&mux.out) > MUX_OUT_MAX)
		abort();
	tear_down();
	close_fd(&fd);
	return 0;
}

/* A client of the agent, made by hand: it says messages, and hears the answers as words. */
#ifndef TEST_AGENT_CLIENT_H
#define TEST_AGENT_CLIENT_H

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "mux.h"
#include "unit.h"

#define CHANNEL (PROTO_CLIENT_CHANNEL | 7)

static struct loop loop;
static struct mux mux; /* the agent's end */
static int client_fd;
static struct buf client_in;
static bool client_lost;                 /* the agent has given the link up */
static char heard[16384];                /* "connecting connected(0) reset(104) " */
static uint8_t bytes[PROTO_FILE_WINDOW]; /* of data, packets and datagrams, one after the other */
static size_t nbytes;
static struct msg last[256]; /* of each type; without spans */

/* Of files: the canonical path of the last message, or its entry's name, and what follows that. */
static char said[PROTO_DATA_MAX + 1], said_more[PROTO_DATA_MAX + 1];
static size_t said_more_len;
static unsigned nentries;
static uint32_t credit; /* of what was heard on a channel */

static void client_lose(struct mux *m, int error, const char *why)
{
	(void)m;
	(void)error;
	(void)why;
	client_lost = true;
}

static void client_begin(void (*message)(struct mux *mux, const struct msg *m))
{
	static struct mux_ops ops;
	int fds[2];

	ops = (struct mux_ops){ .message = message, .lost = client_lose };
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	assert_int_equal(mux_init(&mux, &loop, fds[0], PROTO_AGENT, &ops), 0);
	client_fd = fds[1];
	client_lost = false;
	buf_init(&client_in, MUX_OUT_MAX);
	heard[0] = '\0';
	nbytes = 0;
	nentries = 0;
	credit = 0;
}

static void client_end(void)
{
	mux_done(&mux);
	unit_run(&loop, 1);
	loop_done(&loop);
	buf_done(&client_in);
	close_fd(&client_fd);
}

__attribute__((unused)) static void say(struct msg m)
{
	struct buf b;

	buf_init(&b, PROTO_FRAME_MAX);
	assert_int_equal(proto_encode(&b, &m), 0);
	while (buf_len(&b)) {
		ssize_t n = send(client_fd, buf_head(&b), buf_len(&b), MSG_NOSIGNAL);

		if (n > 0)
			buf_consume(&b, (size_t)n);
		else
			unit_run(&loop, 1);
	}
	buf_done(&b);
}

static void keep_bytes(struct span s)
{
	assert_true(nbytes + s.len <= sizeof(bytes));
	if (s.len)
		memcpy(bytes + nbytes, s.data, s.len);
	nbytes += s.len;
}

static void keep_text(struct span s, size_t n)
{
	assert_true(n <= s.len);
	said_more_len = s.len - n;
	if (s.len) {
		memcpy(said, s.data, n);
		memcpy(said_more, (const char *)s.data + n, said_more_len);
	}
	said[n] = said_more[said_more_len] = '\0';
}

/* "ENOENT", "0" */
static const char *word_of(uint32_t error)
{
	const char *name = strerrorname_np((int)error);

	return name ? name : "?";
}

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	size_t n = strlen(heard);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(heard + n, sizeof(heard) - n, fmt, ap);
	va_end(ap);
}

static void client_hears(const struct msg *m)
{
	last[m->type] = *m;
	switch (m->type) {
	case MSG_data:
		keep_bytes(m->data.bytes);
		return;
	case MSG_packet:
		keep_bytes(m->packet.bytes);
		note("packet(%u,%u) ", m->packet.more, m->packet.bytes.len);
		return;
	case MSG_datagram:
		keep_bytes(m->datagram.bytes);
		note("datagram(%u) ", m->datagram.bytes.len);
		return;
	case MSG_connected:
		note("connected(%u) ", m->connected.error);
		return;
	case MSG_reset:
		note("reset(%u) ", m->reset.error);
		return;
	case MSG_udp_opened:
		note("udp_opened(%u) ", m->udp_opened.error);
		return;
	case MSG_udp_connected:
		note("udp_connected(%u) ", m->udp_connected.error);
		return;
	case MSG_udp_error:
		note("udp_error(%u) ", m->udp_error.error);
		return;
	case MSG_file_opened:
		note("opened(%s,%u) ", word_of(m->file_opened.error), m->file_opened.content);
		keep_text(m->file_opened.path, m->file_opened.path_len);
		return;
	case MSG_file_data:
		note("data(%llu,%u) ", (unsigned long long)m->file_data.offset,
			m->file_data.bytes.len);
		keep_bytes(m->file_data.bytes);
		credit += PROTO_MESSAGE_COST(m->file_data.bytes.len);
		return;
	case MSG_file_entry:
		nentries++;
		keep_text(m->file_entry.name, m->file_entry.name_len);
		credit += PROTO_MESSAGE_COST(m->file_entry.name.len);
		return;
	case MSG_file_end:
		note("end(%s,%llu) ", word_of(m->file_end.error),
			(unsigned long long)m->file_end.size);
		return;
	case MSG_file_synced:
		note("synced(%u,%s) ", m->file_synced.request, word_of(m->file_synced.error));
		return;
	case MSG_file_failed:
		note("failed(%s) ", word_of(m->file_failed.error));
		return;
	case MSG_file_done:
		note("done(%s) ", word_of(m->file_done.error));
		keep_text(m->file_done.path, m->file_done.path_len);
		return;
	case MSG_file_changed:
		note("changed(%u,%s,%x,%.*s) ", m->id, word_of(m->file_changed.error),
			m->file_changed.events, (int)m->file_changed.name.len,
			(const char *)m->file_changed.name.data);
		return;
	case MSG_context:
		keep_text(m->context.mounts, m->context.mounts.len);
		note("context(%.*s) ", (int)m->context.nodename.len,
			(const char *)m->context.nodename.data);
		return;
	case MSG_environ:
		keep_bytes(m->environ.bytes);
		note("environ(%s,%u) ", word_of(m->environ.error), m->environ.more);
		return;
	default:
		note("%s ", proto_name(m->type));
	}
}

/* Everything that the agent has said by now. */
static const char *hear(void)
{
	struct msg m;
	ssize_t n;
	int r;

	do {
		uint8_t *to = buf_reserve(&client_in, PROTO_FRAME_MAX);

		assert_non_null(to);
		n = recv(client_fd, to, PROTO_FRAME_MAX, MSG_DONTWAIT);
		if (n > 0)
			buf_commit(&client_in, (size_t)n);
		while ((r = proto_decode(
				buf_head(&client_in), buf_len(&client_in), PROTO_AGENT, &m)) > 0) {
			client_hears(&m);
			buf_consume(&client_in, (size_t)r);
		}
	} while (n > 0);
	return heard;
}

/* await() - until the agent has said exactly that since last time. */
#define await(words)                                                                               \
	do {                                                                                       \
		uint64_t until_ = now_ns() + 5000000000u;                                          \
		while (strcmp(hear(), words) != 0 && now_ns() < until_)                            \
			unit_run(&loop, 1);                                                        \
		assert_string_equal(heard, words);                                                 \
		heard[0] = '\0';                                                                   \
	} while (0)

#endif

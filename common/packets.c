/* Theory of operation. The queue holds records, each a struct record and the packet's bytes; the
 * last one may grow still. A fragment takes more of the credit than a record's header takes of the
 * queue, so a queue of PROTO_WINDOW bytes holds whatever the peer may send.
 *
 * recvmsg(2) returns 0 for an empty packet and for the end of file. Only a packet has a time of
 * arrival (SO_TIMESTAMP; unix sockets have it since Linux 4.14), which also fills the room that
 * descriptors in the packet would need: they are dropped by the kernel. */
#include "packets.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

struct record {
	uint32_t len, cost;
};

void packets_init(struct packets *p)
{
	*p = (struct packets){ 0 };
	buf_init(&p->rest, PACKETS_MAX);
}

void packets_done(struct packets *p)
{
	buf_done(&p->rest);
}

int packets_prepare(int fd)
{
	int on = 1;

	return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on)) < 0 ? -errno : 0;
}

/* --- socket → channel --- */

/* Send n bytes, the end of a packet, in fragments; how many were taken. An empty packet is one
 * fragment; *whole: all is sent. */
static size_t post(struct channel *c, const uint8_t *p, size_t n, bool *whole)
{
	struct msg m = { .type = MSG_packet, .id = c->id };
	size_t done = 0, part;

	do {
		part = MIN(n - done, (size_t)PROTO_DATA_MAX);
		m.packet.more = done + part < n;
		m.packet.bytes = (struct span){ p + done, (uint32_t)part };
		*whole = channel_post(c, &m, part) == 0;
		done += *whole ? part : 0;
	} while (*whole && done < n);
	return done;
}

/* An empty packet cannot be kept, so there must be room for one. */
bool packets_may_read(const struct packets *p, struct channel *c)
{
	return !buf_len(&p->rest) && channel_room(c) >= PROTO_MESSAGE_COST(0);
}

void packets_send_rest(struct packets *p, struct channel *c)
{
	bool whole;

	if (buf_len(&p->rest))
		buf_consume(&p->rest, post(c, buf_head(&p->rest), buf_len(&p->rest), &whole));
}

int packets_read(struct packets *p, int fd, struct channel *c)
{
	static uint8_t bytes[PACKETS_MAX];
	union {
		struct cmsghdr align;
		uint8_t space[CMSG_SPACE(sizeof(struct timeval))];
	} control;
	struct iovec iov = { bytes, sizeof(bytes) };
	struct msghdr h = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n;
	size_t sent;
	bool whole;

	n = recvmsg(fd, &h, 0);
	if (n < 0)
		return -errno;
	if (n == 0 && !CMSG_FIRSTHDR(&h))
		return 0;
	if (h.msg_flags & MSG_TRUNC)
		return -EMSGSIZE;
	sent = post(c, bytes, (size_t)n, &whole);
	return whole ? 1 : buf_put(&p->rest, bytes + sent, (size_t)n - sent) < 0 ? -ENOMEM : 1;
}

/* --- channel → socket --- */

int packets_put(struct packets *p, struct buf *queue, const struct msg_packet *m)
{
	struct record r;

	if (!p->open) {
		if (buf_put(queue, &(struct record){ 0 }, sizeof(r)) < 0)
			return -ENOBUFS;
		p->open = true;
		p->len = p->cost = 0;
	}
	if (m->bytes.len > PACKETS_MAX - p->len)
		return -EMSGSIZE;
	if (buf_put(queue, m->bytes.data, m->bytes.len) < 0)
		return -ENOBUFS;
	p->len += m->bytes.len;
	p->cost += PROTO_MESSAGE_COST(m->bytes.len);
	p->open = m->more;
	r = (struct record){ p->len, p->cost };
	memcpy(queue->data + queue->tail - p->len - sizeof(r), &r, sizeof(r));
	return 0;
}

void packets_drop(struct packets *p, struct buf *queue)
{
	buf_consume(queue, buf_len(queue));
	p->open = false;
}

bool packets_ready(const struct packets *p, const struct buf *queue)
{
	return buf_len(queue) > (p->open ? p->len + sizeof(struct record) : 0);
}

ssize_t packets_write(const struct packets *p, struct buf *queue, int fd)
{
	ssize_t credit = 0;
	struct record r;

	while (packets_ready(p, queue)) {
		memcpy(&r, buf_head(queue), sizeof(r));
		if (send(fd, buf_head(queue) + sizeof(r), r.len, MSG_NOSIGNAL) >= 0) {
			buf_consume(queue, sizeof(r) + r.len);
			credit += r.cost;
		} else if (errno == EAGAIN) {
			break;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return credit;
}

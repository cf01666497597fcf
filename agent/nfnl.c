#include "nfnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

int nfnl_open(struct nfnl *n)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct sockaddr_nl sa = { .nl_family = AF_NETLINK };
	socklen_t len = sizeof(sa);

	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	*n = (struct nfnl){ .fd = take_fd(&fd), .port = sa.nl_pid };
	return 0;
}

void nfnl_close(struct nfnl *n)
{
	close_fd(&n->fd);
}

/* --- building --- */

/* Room for n bytes and their padding, all zero; NULL when the batch is full. */
static void *grow(struct nfnl_batch *b, size_t n)
{
	size_t padded = NLMSG_ALIGN(n);
	void *p = b->data + b->len;

	if (padded > sizeof(b->data) - b->len) {
		b->full = true;
		return NULL;
	}
	memset(p, 0, padded);
	b->len += padded;
	return p;
}

static void begin_message(
	struct nfnl_batch *b, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
	struct nlmsghdr *h;
	struct nfgenmsg *g;

	b->message = b->len;
	h = grow(b, sizeof(*h));
	g = grow(b, sizeof(*g));
	if (!h || !g)
		return;
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
	g->res_id = htons(resource);
}

/* A message's length is known when the next one begins. */
static void end_message(struct nfnl_batch *b)
{
	if (!b->full && b->len)
		((struct nlmsghdr *)(b->data + b->message))->nlmsg_len =
			(uint32_t)(b->len - b->message);
}

void nfnl_begin(struct nfnl_batch *b)
{
	b->len = 0;
	b->full = false;
	begin_message(b, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}

void nfnl_message(struct nfnl_batch *b, uint8_t type, uint16_t flags, uint8_t family)
{
	end_message(b);
	begin_message(b, NFNL_SUBSYS_NFTABLES << 8 | type, NLM_F_ACK | flags, family, 0);
}

void nfnl_put(struct nfnl_batch *b, uint16_t attr, const void *p, size_t n)
{
	struct nlattr *a = grow(b, NLA_HDRLEN + n);

	if (!a)
		return;
	a->nla_type = attr;
	a->nla_len = (uint16_t)(NLA_HDRLEN + n);
	memcpy((uint8_t *)a + NLA_HDRLEN, p, n);
}

void nfnl_put_str(struct nfnl_batch *b, uint16_t attr, const char *s)
{
	nfnl_put(b, attr, s, strlen(s) + 1);
}

void nfnl_put_u32(struct nfnl_batch *b, uint16_t attr, uint32_t v)
{
	v = htonl(v);
	nfnl_put(b, attr, &v, sizeof(v));
}

size_t nfnl_nest(struct nfnl_batch *b, uint16_t attr)
{
	size_t nest = b->len;

	nfnl_put(b, attr | NLA_F_NESTED, "", 0);
	return nest;
}

void nfnl_nest_end(struct nfnl_batch *b, size_t nest)
{
	if (!b->full)
		((struct nlattr *)(b->data + nest))->nla_len = (uint16_t)(b->len - nest);
}

/* --- sending --- */

/* The first error among n bytes of answers. */
static int first_error(const uint8_t *p, size_t n)
{
	struct nlmsghdr h;
	struct nlmsgerr e;

	while (n >= sizeof(h)) {
		memcpy(&h, p, sizeof(h));
		if (h.nlmsg_len < sizeof(h) || h.nlmsg_len > n)
			return -EBADMSG;
		if (h.nlmsg_type == NLMSG_ERROR && h.nlmsg_len >= NLMSG_HDRLEN + sizeof(e)) {
			memcpy(&e, p + NLMSG_HDRLEN, sizeof(e));
			if (e.error)
				return e.error;
		}
		n -= MIN(n, (size_t)NLMSG_ALIGN(h.nlmsg_len));
		p += NLMSG_ALIGN(h.nlmsg_len);
	}
	return 0;
}

/* nfnetlink works inside send(2): when that returns, every answer is in the socket's queue. Every
 * message asks for one, since an error of the first says that the others have no effect either. */
static int read_answers(int fd)
{
	_Alignas(struct nlmsghdr) uint8_t answer[NFNL_BATCH_MAX];
	int error = 0;

	for (;;) {
		ssize_t n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? error : -errno;
		if (!error)
			error = first_error(answer, (size_t)n);
	}
}

int nfnl_commit(struct nfnl *n, struct nfnl_batch *b)
{
	const struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	end_message(b);
	begin_message(b, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
	end_message(b);
	if (b->full)
		return -EMSGSIZE;
	for (size_t at = 0; at < b->len;) {
		struct nlmsghdr *h = (struct nlmsghdr *)(b->data + at);

		h->nlmsg_seq = ++n->seq;
		at += h->nlmsg_len;
	}
	if (sendto(n->fd, b->data, b->len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	return read_answers(n->fd);
}

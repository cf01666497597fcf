#include "guestmsg.h"

#include <errno.h>

#include "mem.h"
#include "util.h"

/* Headers read in one go, to see whether any has a name. */
#define NAMED_AT_ONCE 32

void guestmsg_one(struct guestmsg *g, pid_t tid, uint64_t data, uint64_t len)
{
	g->tid = tid;
	g->at = 0;
	g->h = (struct msghdr){ .msg_name = NULL };
	g->iov[0] = (struct iovec){ (void *)(uintptr_t)data, len };
	g->niov = 1;
	g->len = len;
}

int guestmsg_read(struct guestmsg *g, pid_t tid, uint64_t at)
{
	int r = mem_read(tid, at, &g->h, sizeof(g->h));

	if (r < 0)
		return r;
	if (!g->h.msg_name)
		g->h.msg_namelen = 0;
	if ((int)g->h.msg_namelen < 0)
		return -EINVAL;
	if (g->h.msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	g->tid = tid;
	g->at = at;
	g->niov = g->h.msg_iovlen;
	g->len = 0;
	if (g->niov)
		r = mem_read(tid, (uintptr_t)g->h.msg_iov, g->iov, g->niov * sizeof(*g->iov));
	for (size_t i = 0; r == 0 && i < g->niov; i++) {
		if (g->iov[i].iov_len > SSIZE_MAX)
			return -EINVAL;
		g->len = MIN(g->len + g->iov[i].iov_len, (size_t)INT_MAX);
	}
	return r;
}

bool guestmsg_any_named(pid_t tid, uint64_t at, unsigned n)
{
	struct mmsghdr some[NAMED_AT_ONCE];

	for (unsigned i = 0, m; i < n; i += m) {
		m = MIN(n - i, (unsigned)NAMED_AT_ONCE);
		if (mem_read(tid, at + i * sizeof(*some), some,
			    (m - 1) * sizeof(*some) + sizeof(some->msg_hdr)) < 0)
			return false;
		for (unsigned k = 0; k < m; k++) {
			if (some[k].msg_hdr.msg_name)
				return true;
		}
	}
	return false;
}

bool guestmsg_is_named(const struct guestmsg *g)
{
	return g->h.msg_namelen;
}

int guestmsg_name(const struct guestmsg *g, struct addr *a)
{
	size_t len = MIN((size_t)g->h.msg_namelen, sizeof(struct sockaddr_storage));

	return mem_read_sockaddr(g->tid, (uintptr_t)g->h.msg_name, len, a);
}

ssize_t guestmsg_control(const struct guestmsg *g, void *to, size_t size)
{
	size_t n = g->h.msg_control ? g->h.msg_controllen : 0;
	int r;

	if (n > size)
		return -ENOBUFS;
	r = n ? mem_read(g->tid, (uintptr_t)g->h.msg_control, to, n) : 0;
	return r < 0 ? r : (ssize_t)n;
}
